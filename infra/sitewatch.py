"""The watching of one site: two threads over one driver, under a lease on the site's row.

The lease (`watcher`, `watched_until`) fences what they write: each of their transactions locks the row and finds itself
in it, or writes nothing. A process that is killed leaves a lease that lapses; another one takes the site over then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from facet.operations import circuits, engine, inflight
from facet.operations.wakeups import wake

from . import headroom, looks, outside, policies, room, unmanaged
from .apart import Standing, with_adopted
from .drivers import base, factory
from .models import Site, SitePhase

log = structlog.get_logger(__name__)

LEASE_S = 10.0
PAUSE_S = 0.4
WAIT_S = 15.0  # one long poll
LONGEST_BACK_OFF_S = 30.0


class LostLease(Exception):
    """Another process watches this site now: stop, write nothing."""


# --- the lease -----------------------------------------------------------------------------------------------------


def system() -> AbstractContextManager[None]:
    return engine.wiring().context(None)


def claim(site_id: UUID, watcher: UUID) -> bool:
    """Become the watcher of a site that nobody watches."""
    free = Q(watcher=None) | Q(watched_until=None) | Q(watched_until__lt=Now())
    living = Site.objects.filter(free, pk=site_id, deleted_at=None).exclude(phase=SitePhase.DELETING)
    return bool(living.update(watcher=watcher, watched_until=Now() + timedelta(seconds=LEASE_S)))


def renew(watchers: list[UUID]) -> set[UUID]:
    """Push these leases out again; those that were still ours."""
    with system():
        ours = Site.objects.filter(watcher__in=watchers, watched_until__gt=Now())
        rows = dict(ours.order_by("id").select_for_update(no_key=True).values_list("id", "watcher"))
        Site.objects.filter(pk__in=rows).update(watched_until=Now() + timedelta(seconds=LEASE_S))
    return set(rows.values())


def release(watcher: UUID) -> None:
    Site.objects.filter(watcher=watcher).update(watcher=None, watched_until=None)


# --- the threads ---------------------------------------------------------------------------------------------------


# --- one site ------------------------------------------------------------------------------------------------------


@dataclass
class Picture:
    """The VMs of a site as they were told last, by ref."""

    vms: dict[str, base.VmFacts] = field(default_factory=dict)
    templates: tuple[base.TemplateFacts, ...] = ()

    def apply(self, changes: base.Changes) -> list[base.VmFacts]:
        """Let it be true again; the VMs that have left."""
        gone = [vm for ref in changes.gone_refs if (vm := self.vms.pop(ref, None)) is not None]
        for vm in changes.vms:
            self.vms[vm.ref] = vm
        return gone

    def standing(self, site_id: UUID) -> Standing:
        return Standing(site_id, tuple(self.vms.values()), self.templates)


class SiteWatch:
    """Two threads over one driver: one hears what moves, one asks after open refs when there are any."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.watcher = uuid4()
        self.driver = factory.connect(outside.connection_of(site))
        self.stopping = threading.Event()
        self.asked = threading.Event()
        self.answers: bool | None = None
        self.threads = [
            threading.Thread(target=self._run, args=(name, work), name=f"{name} {site.name}", daemon=True)
            for name, work in (("listen", self._listen), ("ask", self._ask))
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Ask both threads to end; the session is closed by the one that listens."""
        self.stopping.set()
        self.asked.set()
        closing = threading.Thread(target=self.driver.close, name=f"close {self.site.name}", daemon=True)
        closing.start()  # it ends a long poll; a site that does not answer must not hold us up
        self.threads.append(closing)

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self.threads[:2])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A short transaction in the system context, which is ours as long as the lease is. Raises LostLease.

        The site's row is locked first, as every verb on sites and zones does: whoever wants the lease waits for us.
        """
        with system():
            with connection.cursor() as cursor:
                cursor.execute(
                    """select 1 from infra_site where id = %s and watcher = %s and watched_until > now()
                       for no key update""",
                    [self.site.id, self.watcher],
                )
                if cursor.fetchone() is None:
                    raise LostLease(str(self.site.id))
            yield

    def _run(self, name: str, work: Callable[[], None]) -> None:
        """Do `work` again and again; what goes wrong backs off, up to a bound, and touches no other site."""
        failures = 0
        with structlog.contextvars.bound_contextvars(site=str(self.site.id), watch=name):
            while not self.stopping.is_set():
                try:
                    work()
                    failures = 0
                    continue
                except LostLease:
                    log.warning("another process watches this site now")
                    self.stopping.set()
                except base.DriverError as error:
                    if not self.stopping.is_set() and not isinstance(error, base.NotReady):
                        self._tell(False, error.reason)
                    if isinstance(
                        error, base.Refused
                    ):  # the site's pass goes on trying, at a pace that locks nobody out
                        self.stopping.set()
                except (DatabaseError, InterfaceError) as error:
                    log.warning("the database did not take it", error=str(error).splitlines()[:1])
                    connection.close()
                except Exception:  # a fault of ours must not end the watching of a site for good
                    log.exception("a look failed")
                    connection.close()
                failures += 1
                self.stopping.wait(min(LONGEST_BACK_OFF_S, 0.5 * 2.0 ** min(failures, 10)))
            connection.close()

    def _tell(self, answers: bool, why: str = "") -> None:
        """The site's own pass says what is wrong with it, or that all is well: wake it when that has changed."""
        if self.answers == answers:
            return
        if not answers:
            log.warning("the site does not answer", error=why)
        known, self.answers = self.answers, answers
        if answers and known is None:
            return
        with suppress(DatabaseError, InterfaceError), self.transaction():
            if answers:
                circuits.close(self.site.id)
            wake("site", self.site.id, site_id=self.site.id)

    # --- hearing what moves ----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """A complete look, then what moves, until the cursor is lost."""
        look = looks.begin(self.site.id, self.transaction)
        check = self.driver.check()
        seen = self.driver.inventory()
        told = policies.observed(self.driver)
        with self.transaction():
            site = Site.objects.get(pk=self.site.id)
        try:
            looks.complete(site, look, check, seen, self.transaction, told)
        except looks.AnotherSite:
            raise base.Refused("Another site answers there.", code="another_site") from None
        self._tell(True)
        picture = Picture({vm.ref: vm for vm in seen.vms}, seen.templates)
        cursor = seen.cursor
        while not self.stopping.is_set():
            changes = self.driver.changes(cursor, WAIT_S)
            if changes.resync:
                self.stopping.wait(PAUSE_S)
                return
            cursor = changes.cursor
            self._write_down(picture, changes)

    def _write_down(self, picture: Picture, changes: base.Changes) -> None:
        if not (changes.hosts or changes.datastores or changes.vms or changes.gone_refs):
            return
        gone = picture.apply(changes)
        if gone:
            with self.transaction():
                expected = engine.expected_vms(self.site.id)
            looks.judge(self.site, expected, expected & {vm.key for vm in gone}, self.transaction)
        standing = picture.standing(self.site.id)
        room.write_hosts(self.site, changes.hosts, standing, self.transaction, timezone.now())
        if changes.hosts:
            headroom.follow(self.site, self.transaction)
        room.write_unmanaged(self.site, standing, self.transaction)
        room.write_datastores(self.site, changes.datastores, standing, self.transaction)
        if changes.vms or changes.gone_refs:
            self._tell_of_vms(picture, changes)

    def _tell_of_vms(self, picture: Picture, changes: base.Changes) -> None:
        unmanaged.write_changes(self.site, changes.vms, picture.templates, changes.gone_refs, self.transaction)
        with self.transaction():
            vms = with_adopted(changes.vms, engine.adopted_vms(self.site.id))
        for observe in engine.wiring().SITE_OBSERVERS:
            observe(self.transaction, self.site.id, vms, gone_refs=changes.gone_refs, complete=False)

    # --- asking after open refs ------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """When told that refs are open: one question about all of them, and their owners are woken for what ended."""
        self.asked.wait()
        self.asked.clear()
        if self.stopping.is_set():
            return
        with self.transaction():
            rows = inflight.open_at(self.site.id)
        if not rows:
            return
        states = self.driver.poll([row.ref for row in rows])
        ended = [(row, facts) for row in rows if (facts := states.get(row.ref)) is not None and _ended(facts)]
        ended.sort(key=lambda pair: (pair[0].kind, pair[0].key, pair[0].id))  # the order in which wakeups are locked
        for part in room.slices(ended):
            with self.transaction():
                for row, facts in part:
                    error = facts.error
                    inflight.end(row, error_code=error.code if error else "", error=error.reason if error else "")


def _ended(facts: base.TaskFacts) -> bool:
    return facts.state is not base.TaskState.RUNNING
