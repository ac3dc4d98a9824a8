"""The watch process: takes the sites that nobody watches, and asks after what is in flight when there is something."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, connection

from facet.operations.models import Inflight
from facet.rest.secrets import CannotOpen

from .models import Site, SitePhase
from .sitewatch import SiteWatch, claim, release, renew, system

log = structlog.get_logger(__name__)

RENEW_S = 3.0
TICK_S = 0.4  # how often open refs are asked after, and how soon a new site is noticed
REST_S = 30.0  # before a site is watched again that could not be
LAST_WORDS_S = 1.0  # what threads get to end in


class Watch:
    """One process's watching: takes the sites that nobody watches, keeps their leases, lets go of what is gone."""

    def __init__(self) -> None:
        self.watches: dict[UUID, SiteWatch] = {}
        self.stopping = threading.Event()
        self._renewed = time.monotonic()
        self._resting: dict[tuple[UUID, int], float] = {}  # site and generation -> when to try again

    def run(self) -> None:
        """Until `stopping` is set; then let go of everything, within about a second."""
        while not self.stopping.wait(TICK_S):
            try:
                self.tick()
            except (DatabaseError, InterfaceError) as error:
                log.warning("the database does not answer", error=str(error).splitlines()[:1])
                connection.close()
        self.end()

    def tick(self) -> None:
        if time.monotonic() - self._renewed >= RENEW_S:
            self._renewed = time.monotonic()
            self._renew()
        with system():
            sites = {
                site.id: site
                for site in Site.objects.filter(deleted_at=None).exclude(phase=SitePhase.DELETING).order_by("id")
            }
            asked = set(Inflight.objects.filter(ended_at=None).values_list("site_id", flat=True).distinct())
        for id, watch in list(self.watches.items()):
            site = sites.get(id)
            if not watch.alive:
                self._rest(watch.site)
            if site is None or site.generation != watch.site.generation or not watch.alive:
                self._drop(watch)
            elif id in asked:
                watch.asked.set()
        now = time.monotonic()
        for site in sites.values():
            ready = site.phase == SitePhase.ACTIVE and self._resting.get((site.id, site.generation), 0.0) <= now
            if site.id not in self.watches and ready:
                self._take(site)

    def _rest(self, site: Site) -> None:
        now = time.monotonic()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        self._resting[site.id, site.generation] = now + REST_S

    def _renew(self) -> None:
        ours = renew([watch.watcher for watch in self.watches.values()]) if self.watches else set()
        for watch in list(self.watches.values()):
            if watch.watcher not in ours:
                log.warning("lost the lease of a site", site=str(watch.site.id))
                self._drop(watch)

    def _take(self, site: Site) -> None:
        try:
            with system():
                watch = SiteWatch(site)
                won = claim(site.id, watch.watcher)
        except CannotOpen as error:
            log.error("the password of a site cannot be opened", site=str(site.id), error=str(error))
            self._rest(site)
            return
        if not won:
            watch.driver.close()
            return
        log.info("watching", site=str(site.id), name=site.name)
        self.watches[site.id] = watch
        watch.start()

    def _drop(self, watch: SiteWatch) -> None:
        self.watches.pop(watch.site.id, None)
        watch.stop()
        with system():
            release(watch.watcher)

    def end(self) -> None:
        watches = list(self.watches.values())
        for watch in watches:
            with suppress(DatabaseError, InterfaceError):
                self._drop(watch)
        for watch in watches:
            for thread in watch.threads:
                thread.join(LAST_WORDS_S / max(1, len(watches) * len(watch.threads)))
        connection.close()
