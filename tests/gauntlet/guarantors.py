"""What happens to guarantees meanwhile: they move from pool to pool, leave hosts that closed, and are kept a second
time in other zones, of which IT takes what is spare."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from django.db.models import Q

from infra.models import Host, HostState
from scheduler import guarantees, rehousing, services
from scheduler.models import PoolPhase, ResourcePool
from tests.client import Api
from tests.factories import as_system
from tests.gauntlet.course import Course
from tests.gauntlet.keepers import Keeper
from tests.room import GIB


class Guarantor:
    """Dice that speak as IT, and as the pools' passes."""

    def __init__(self, course: Course, dice: random.Random, it: Api) -> None:
        self.course, self.dice, self.it = course, dice, it
        self.verbs: Mapping[str, Callable[[], None]] = {
            "transfer": self.transfer,
            "survive": self.survive,
            "take-spare": self.take_spare,
            "rehouse": self.rehouse,
        }

    def pools(self, **of: object) -> list[ResourcePool]:
        with as_system():
            rows = ResourcePool.objects.filter(deleted_at=None, **of).exclude(phase=PoolPhase.DELETING)
            return list(rows.select_related("zone").order_by("id"))

    def transfer(self) -> None:
        """Some of one pool's guarantee to another, of the same level in the same zone as often as not."""
        pools = self.pools()
        source = self.dice.choice(pools)
        near = [one for one in pools if one.zone_id == source.zone_id and one.parent_id == source.parent_id]
        target = self.dice.choice(near if self.dice.random() < 0.9 else pools)
        vcpu = self.dice.randint(1, 4)
        body = {"to": str(target.id), "vcpu": vcpu, "memory_mib": vcpu * GIB}
        Keeper.said(self.it.post(f"pools/{source.id}/transfer", body))

    def survive(self) -> None:
        """A tenant's pools are to survive the loss of a zone, or not."""
        pools = self.pools(project=None, tenant=self.dice.choice(self.course.tenants))
        first, *others = self.dice.sample(pools, len(pools))
        body = {"survives_zone_loss": self.dice.random() < 0.6, "with_zones": [one.zone.name for one in others]}
        Keeper.said(self.it.patch(f"pools/{first.id}", body))

    def take_spare(self) -> None:
        pools = self.pools(survives_zone_loss=True)
        if pools:
            Keeper.said(self.it.post(f"pools/{self.dice.choice(pools).id}/take-spare"))

    def rehouse(self) -> None:
        """What the passes of a zone's pools do about its closed hosts."""
        zone = self.dice.choice(self.course.zones)
        with as_system():
            closed = Host.objects.filter(~Q(state=HostState.UP) | Q(cordoned=True), zone=zone)
            ids = set(closed.values_list("id", flat=True))
            kept = services.kept_in(zone.id)
        done = rehousing.rehouse(kept, ids, seed=self.dice.randrange(1 << 30))
        with as_system():
            guarantees.move(zone.id, done.moves)
