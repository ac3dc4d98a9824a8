"""What one pass over a drain knows: its row, the hosts that are to be empty, its site's driver, what is under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from django.utils import timezone

from facet.operations.engine import Turn
from infra import outside
from infra.drivers import base
from infra.models import Host, Site, Zone
from scheduler.models import Move

from ..machines import Tasks
from ..models import Drain


@dataclass
class Scene:
    """Rows are a look, not the truth: every write about them says under which condition it holds."""

    turn: Turn
    drain: Drain
    host_ids: frozenset[UUID]
    tasks: Tasks = field(default_factory=Tasks)
    reason: dict[str, Any] | None = None  # what this pass has found to wait for, see wait()
    under_way: bool = False  # moves are open
    claimed: int = 0  # in this pass
    nowhere: frozenset[UUID] = frozenset()  # VMs that some hosts refused and that find no other

    @classmethod
    def read(cls, turn: Turn) -> Scene:
        with turn.reading():
            drain = Drain.objects.select_related("zone__site", "host").get(pk=turn.key)
            there = Host.objects.filter(zone_id=drain.zone_id)
            ids = [drain.host_id] if drain.host_id else list(there.values_list("id", flat=True))
        return cls(turn, drain, frozenset(ids))

    @property
    def zone(self) -> Zone:
        return self.drain.zone

    @property
    def site(self) -> Site:
        return self.drain.zone.site

    @cached_property
    def driver(self) -> base.Driver:
        return outside.driver_of(self.site)

    def open_moves(self) -> list[Move]:
        """What is under way, oldest first."""
        rows = Move.objects.filter(drain_id=self.drain.id, ended_at=None)
        with_all = rows.select_related("host", "datastore", "pool", "source__host", "source__datastore", "source__pool")
        with self.turn.reading():
            found = list(with_all.order_by("id"))
        self.under_way = bool(found)
        return found

    def wait(self, code: str, sentence: str) -> None:
        """Not there yet: the reason will stand on the drain."""
        before = self.drain.reason or {}
        since = before.get("since") if before.get("code") == code else None
        self.reason = {
            "code": code,
            "sentence": sentence,
            "action": "Facet goes on by itself.",
            "since": since or timezone.now().isoformat(),
        }
