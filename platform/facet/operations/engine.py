"""One pass: lease what is due, let its room reconcile it, say when to come again.

`reconcile(turn) -> Done | Again | Waiting`: look at the world, take one repeatable act, return. A Turn is the right to
act on one object: `renew()` before each act on the outside, `transaction()` for what is written about it. Both raise
LostTurn once another worker may have it.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from facet.rest.access import Actor

from . import bell, circuits, governor, metrics, wakeups
from .models import Operation

log = structlog.get_logger(__name__)

LONGEST_BACK_OFF_S = 180.0
SOON_S = 20.0
SAFETY_LOOK_S = 600.0  # whoever waits for another's wake-up is looked at all the same


class LostTurn(Exception):
    """The lease ran out and someone else may be at work: stop, write nothing."""


class ComeAgain(Exception):
    """Base of what the outside says when a pass should be tried later. `open_circuit`: the whole site is down."""

    open_circuit = False


class SiteDown(ComeAgain):
    open_circuit = True


@dataclass(frozen=True, slots=True)
class Done:
    """Observed as asked: no further look is needed."""


@dataclass(frozen=True, slots=True)
class Again:
    """Look again after this many seconds."""

    after_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody else will wake it (a task's end, a user); `on` says who, for the logs."""

    on: str
    at_most_s: float = SAFETY_LOOK_S


Outcome = Done | Again | Waiting


@dataclass(slots=True)
class Turn:
    """The right to act on one object, and the database context in which to write about it."""

    lease: wakeups.Lease
    context: Callable[[UUID | None], AbstractContextManager[None]] = field(repr=False)
    acted: bool = field(default=False, init=False)  # it went on to the outside, so the outside answered if it ends well
    took: bool = field(default=False, init=False)  # room at its site, see take_room
    along: dict[UUID, wakeups.Lease] = field(default_factory=dict, init=False)  # by key, see take_along

    @property
    def key(self) -> UUID:
        return self.lease.key

    @property
    def tenant_id(self) -> UUID | None:
        return self.lease.tenant_id

    def renew(self) -> None:
        """Before each act on the outside. Raises LostTurn."""
        if not wakeups.renew(self.lease, *self.along.values()):
            raise LostTurn(f"{self.lease.kind} {self.lease.key}")
        self.acted = True

    def take_along(self, keys: Iterable[UUID]) -> frozenset[UUID]:
        """Objects of the same kind that wait for the very same act and that nobody looks at: those that we may act on.

        Until they are let go, at the latest when this pass ends, the turn is theirs too.
        """
        taken = {lease.key: lease for lease in wakeups.take_along(self.lease, keys)}
        self.along |= taken
        return frozenset(taken)

    def let_go(self, after_s: float = 0.0) -> None:
        """Whoever was taken along goes on in a pass of its own, after so many seconds."""
        keys = [*self.along]
        self.along.clear()
        if keys and wakeups.let_go(self.lease, keys, after_s) and after_s <= SOON_S:
            bell.ring(after_s)

    def take_room(self, want: int, *, budget: int) -> int:
        """Take room for at most `want` tasks at the site, whose budget this is. In a transaction; see governor.take."""
        self.took = self.took or want > 0
        return governor.take(self.lease, want, budget=budget)

    def room(self, want: int, *, budget: int) -> int:
        """How many tasks it could begin at this moment; nothing is taken."""
        return governor.free_for(self.lease, want, budget=budget)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A short transaction in this object's context, fenced by the turn as its last statement. Raises LostTurn."""
        with self.context(self.lease.tenant_id):
            yield
            if not wakeups.still_ours(self.lease, *self.along.values()):
                raise LostTurn(f"{self.lease.kind} {self.lease.key}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A short transaction that only reads."""
        with self.context(self.lease.tenant_id):
            yield


class SiteObserver(Protocol):
    """Told what a site shows. Opens its own short transactions by `transaction`, in the system context."""

    def __call__(
        self,
        transaction: Callable[[], AbstractContextManager[None]],
        site_id: UUID,
        vms: Sequence[Any],  # infra.drivers.base.VmFacts
        *,
        gone_refs: Sequence[str] = (),
        complete: bool,
        began: datetime | None = None,  # when a complete look began: what was seen before and is not in it, is missing
    ) -> None: ...


class Wiring(Protocol):
    """What facet/registry.py gives the engine."""

    RECONCILERS: Mapping[str, Callable[[Turn], Outcome]]
    CANCELLERS: Mapping[str, Callable[[Operation, Actor], None]]  # operation verb -> what takes it back
    SITE_OBSERVERS: Sequence[SiteObserver]
    EXPECTED_VMS: Sequence[Callable[[UUID], set[UUID]]]  # site -> keys of the VMs that a complete look should show
    VOLUMES: Sequence[Callable[[UUID], Mapping[str, tuple[int, bool]]]]  # see volumes_at
    ADOPTED_VMS: Sequence[
        Callable[[UUID], set[UUID]]
    ]  # site -> keys of the VMs there that are ours without our witness
    HOLDERS: Mapping[str, Sequence[Callable[..., list[dict[str, Any]]]]]  # kind -> who keeps such an object from going

    @staticmethod
    def context(tenant_id: UUID | None) -> AbstractContextManager[None]: ...

    @staticmethod
    def zone_id(name_or_id: str) -> UUID: ...

    @staticmethod
    def zone_names() -> Mapping[UUID, str]: ...


def wiring() -> Wiring:
    return cast(Wiring, importlib.import_module(settings.FACET_REGISTRY))


def holders(kind: str, id: UUID, **which: Any) -> list[dict[str, Any]]:
    """What the rooms above still keep in an object that is to go, or to give less; empty when nothing does."""
    return [held for ask in wiring().HOLDERS.get(kind, ()) for held in ask(id, **which)]


def expected_vms(site_id: UUID) -> frozenset[UUID]:
    """Keys of VMs that have been seen at a site and that nobody has asked to go."""
    return frozenset(key for ask in wiring().EXPECTED_VMS for key in ask(site_id))


def volumes_at(site_id: UUID) -> Mapping[str, tuple[int, bool]]:
    """A datastore's ref -> GiB of ours that lie there beside the VMs' own disks, and whether that changes just now."""
    found: dict[str, tuple[int, bool]] = {}
    for ask in wiring().VOLUMES:
        for ref, (gib, moving) in ask(site_id).items():
            known = found.get(ref, (0, False))
            found[ref] = (known[0] + gib, known[1] or moving)
    return found


def adopted_vms(site_id: UUID) -> frozenset[UUID]:
    """Keys of VMs at a site that Facet did not make, and that are ours all the same."""
    return frozenset(key for ask in wiring().ADOPTED_VMS for key in ask(site_id))


def take_next() -> bool:
    """Take and run one pass; False when nothing was due."""
    lease = wakeups.take()
    if lease is None:
        return False
    run(lease)
    return True


def run(lease: wakeups.Lease) -> Outcome | None:
    """One pass over a leased object. None: it failed and has been put to sleep, or the turn was lost."""
    found = wiring()
    turn = Turn(lease, found.context)
    logged = {"kind": lease.kind, "key": str(lease.key), "site": str(lease.site_id), "tenant": str(lease.tenant_id)}
    with structlog.contextvars.bound_contextvars(**logged), metrics.passing(lease.kind) as passing:
        try:
            try:
                outcome = _reconciler(found, lease.kind)(turn)
            finally:
                turn.let_go()
        except LostTurn:
            passing.outcome = "lost"
            log.warning("lost its turn; another worker has it")
            return None
        except ComeAgain as error:
            passing.outcome = "come_again"
            _failed(lease, error, expected=True)
            return None
        except Exception as error:  # a fault of ours must not stop the queue: told, counted, tried again more slowly
            _failed(lease, error, expected=False)
            return None
        passing.outcome = type(outcome).__name__.lower()
        if lease.site_id is not None and turn.acted:
            circuits.close(lease.site_id)
        if turn.took:  # a pass that fails may have begun tasks that nobody could record: what it took lapses
            governor.give_back(lease)
        _settle(lease, outcome)
        return outcome


def _reconciler(found: Wiring, kind: str) -> Callable[[Turn], Outcome]:
    known = found.RECONCILERS.get(kind)
    if known is None:
        raise LookupError(f"nobody reconciles a {kind}: is this worker older than the one that asked for it?")
    return known


def _settle(lease: wakeups.Lease, outcome: Outcome) -> None:
    match outcome:
        case Done():
            wakeups.finish(lease)
        case Again(after_s):
            wakeups.sleep(lease, after_s)
            if 0 < after_s <= SOON_S:  # the sweep alone would round it up to its own pace; at once, we go on ourselves
                bell.ring(after_s)
        case Waiting(_, at_most_s):
            wakeups.sleep(lease, at_most_s)


def _failed(lease: wakeups.Lease, error: Exception, *, expected: bool) -> None:
    if connection.in_atomic_block:
        raise RuntimeError("a pass must not run inside a transaction") from error
    if not expected:
        log.exception("a pass failed", error=str(error))
    connection.close_if_unusable_or_obsolete()
    if getattr(error, "open_circuit", False) and lease.site_id is not None:
        circuits.trip(lease.site_id, str(error))
        if lease.key != lease.site_id:  # it is the site's fault, not this object's: it waits while the circuit is open
            wakeups.put_off(lease, random.uniform(0.0, 1.0), error=str(error))  # noqa: S311  jitter, not a secret
            return
    wakeups.fail(lease, back_off_s(lease.attempts), error=f"{type(error).__name__}: {error}")


def back_off_s(attempts: int) -> float:
    """Seconds before the next try: doubling from one, with full jitter above half, capped at minutes."""
    ceiling = min(LONGEST_BACK_OFF_S, 2.0 ** min(attempts, 10))
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311  jitter, not a secret
