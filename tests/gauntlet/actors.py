"""What teams do to the ledger, said by dice: claim, resize, release, move. Some plans are wild: nobody looked before.

A runner may end itself at any step by SIGKILL, also between the ledger's answer and the commit.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.utils import timezone

from facet.rest.endpoint import LookAgain
from facet.rest.ids import uuid7
from facet.workloads.models import VM, VmPhase
from scheduler import ledger, moves, services
from scheduler.core.ask import Apart, Ask, Group, Placement, Plan, Policy
from scheduler.ledger import Size
from scheduler.models import Allocation, Move, MovePhase, ResourcePool
from tenants import isolation
from tenants.models import Project
from tests.gauntlet.course import BARE, Course
from tests.room import GIB

LOOKS = 3
HOLDERS = 24  # that a bare project claims for, again and again
SHAPES = (Size(1, GIB, 5), Size(2, 2 * GIB, 10), Size(4, 4 * GIB, 20), Size(1, 3 * GIB, 40), Size(4, GIB, 5))


@dataclass(frozen=True)
class Temper:
    """How runners are. Chances are of one act."""

    wild: float = 0.3
    death: float = 0.004  # at each step of an act
    dawdle: float = 0.2  # that it waits, at each step, with everything locked
    dawdle_s: float = 0.004


class Runner:
    """One process's dice and what it can do with them."""

    def __init__(self, course: Course, dice: random.Random, temper: Temper) -> None:
        self.course, self.dice, self.temper = course, dice, temper
        self.verbs: Mapping[str, Callable[[], None]] = {
            "claim": self.claim,
            "resize": self.resize,
            "release": self.release,
            "move": self.move,
            "arrive": self.arrive,
        }

    def step(self) -> None:
        """Anything may happen here."""
        if self.dice.random() < self.temper.death:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.dice.random() < self.temper.dawdle:
            time.sleep(self.dice.random() * self.temper.dawdle_s)

    @contextmanager
    def writing(self, project: Project) -> Iterator[None]:
        with isolation.context(isolation.of([project.tenant_id])):
            yield
            self.step()
        self.step()

    @contextmanager
    def reading(self, project: Project) -> Iterator[None]:
        with isolation.context(isolation.of([project.tenant_id])):
            yield

    # --- claims ----------------------------------------------------------------------------------------------------

    def claim(self) -> None:
        project = self.dice.choice(self.course.projects)
        zones = self.dice.sample(self.course.zones, self.dice.randint(1, len(self.course.zones)))
        with self.reading(project):
            pools = {zone: pool.id for zone, pool in services.pools_for(project, zones).items()}
        asks = self.asks(project, [zone.id for zone in zones], list(pools.values()))
        for look in range(1, LOOKS + 1):
            try:
                plan = self.plan(asks)
                with self.writing(project):
                    self.write_vms(project, asks, plan)
                    ledger.commit(tenant_id=project.tenant_id, project_id=project.id, asks=asks, plan=plan, pools=pools)
                return
            except LookAgain:
                if look == LOOKS:
                    raise

    def asks(self, project: Project, zones: Sequence[UUID], pools: Sequence[UUID]) -> list[Ask]:
        size, count = self.dice.choice(SHAPES), self.dice.choice((1, 1, 2, 3, 5))
        keys = (
            self.dice.sample(self.holders(project), count) if project.name == BARE else [uuid7() for _ in range(count)]
        )
        group = Group(str(keys[0]), self.dice.choice(list(Apart))) if self.dice.random() < 0.2 else None
        return [
            Ask(
                key,
                size.vcpu,
                size.memory_mib,
                size.storage_gib,
                tuple(zones),
                pools=tuple(pools),
                role="w",
                group=group,
            )
            for key in keys
        ]

    @staticmethod
    def holders(project: Project) -> list[UUID]:
        """The same for every process."""
        return [UUID(int=project.id.int ^ number) for number in range(1, HOLDERS + 1)]

    def plan(self, asks: Sequence[Ask]) -> Plan:
        if self.dice.random() >= self.temper.wild:
            return ledger.decide(asks, policy=self.dice.choice(list(Policy)), seed=self.dice.getrandbits(32))
        place = self.dice.choice([place for place in self.course.places if place.zone.id in asks[0].zones])
        return Plan(
            tuple(
                Placement(
                    ask.key, place.zone.id, self.dice.choice(place.hosts).id, self.dice.choice(place.stores).id, {}
                )
                for ask in asks
            )
        )

    def write_vms(self, project: Project, asks: Sequence[Ask], plan: Plan) -> None:
        if project.name == BARE:
            return
        zones = {one.key: one.zone_id for one in plan.placements}
        VM.objects.bulk_create(
            VM(
                id=ask.key, tenant_id=project.tenant_id, project=project, zone_id=zones[ask.key], name=f"vm-{ask.key}",
                vcpu=ask.vcpu, memory_mib=ask.memory_mib, disk_gib=ask.disk_gib, phase=VmPhase.RUNNING,
            )
            for ask in asks
        )  # fmt: skip
        self.step()

    # --- what stands -----------------------------------------------------------------------------------------------

    def some(self, project: Project, most: int) -> list[UUID]:
        """Some holders that have room, as far as anyone knows."""
        with self.reading(project):
            found = list(Allocation.objects.filter(project=project, released=None).values_list("holder", flat=True))
        return self.dice.sample(found, min(len(found), self.dice.randint(1, most)))

    def resize(self) -> None:
        project = self.dice.choice(self.course.projects)
        sizes = {holder: self.dice.choice(SHAPES) for holder in self.some(project, 3)}
        with self.writing(project):
            if project.name != BARE:
                living = self.lock_vms(list(sizes))
                sizes = {vm.id: sizes[vm.id] for vm in living}
                for id, size in sizes.items():
                    VM.objects.filter(pk=id).update(
                        vcpu=size.vcpu, memory_mib=size.memory_mib, disk_gib=size.storage_gib
                    )
            ledger.resize(tenant_id=project.tenant_id, project_id=project.id, sizes=sizes)

    def release(self) -> None:
        project = self.dice.choice(self.course.projects)
        holders = self.some(project, 4)
        with self.writing(project):
            if project.name != BARE:
                holders = [vm.id for vm in self.lock_vms(holders)]
                VM.objects.filter(pk__in=holders).update(deleted_at=timezone.now())
                self.step()
            ledger.release(tenant_id=project.tenant_id, project_id=project.id, holders=holders)

    @staticmethod
    def lock_vms(ids: Sequence[UUID]) -> list[VM]:
        """The object comes first in the order of locks."""
        living = VM.objects.filter(pk__in=ids, deleted_at=None)
        return list(living.order_by("id").select_for_update(no_key=True, of=("self",)))

    # --- moves -----------------------------------------------------------------------------------------------------

    def move(self) -> None:
        """Claim destinations for some VMs. Who moves one has locked its VM, so that nobody releases it meanwhile."""
        project = self.dice.choice(self.owning())
        holders = self.some(project, 3)
        place = self.dice.choice(self.course.places)
        with self.writing(project):
            holders = [vm.id for vm in self.lock_vms(holders)]
            rows = list(Allocation.objects.filter(holder__in=holders, released=None).order_by("id"))
            pools = self.living_pools(project)
            going = [
                self.going(row, place, pools) for row in rows if row.zone_id == place.zone.id or place.zone.id in pools
            ]
            moves.begin(tenant_id=project.tenant_id, project_id=project.id, drain_id=uuid4(), going=going)

    def owning(self) -> list[Project]:
        """The projects whose holders have VMs."""
        return [project for project in self.course.projects if project.name != BARE]

    def living_pools(self, project: Project) -> dict[UUID, UUID]:
        """zone -> the pool there that pays for this project."""
        rows = ResourcePool.objects.filter(tenant_id=project.tenant_id, deleted_at=None).exclude(phase="deleting")
        of_tenant = {pool.zone_id: pool.id for pool in rows if pool.project_id is None}
        return of_tenant | {pool.zone_id: pool.id for pool in rows if pool.project_id == project.id}

    def going(self, row: Allocation, place: object, pools: Mapping[UUID, UUID]) -> moves.Going:
        same = row.zone_id == place.zone.id
        stays = same and self.dice.random() < 0.5
        return moves.Going(
            source_id=row.id,
            zone_id=place.zone.id,
            pool_id=row.pool_id if same else pools[place.zone.id],
            host_id=self.dice.choice(place.hosts).id,
            datastore_id=row.datastore_id if stays else self.dice.choice(place.stores).id,
        )

    def arrive(self) -> None:
        """Some open moves were seen at their destination, or did not come off. Not only this process says so."""
        project = self.dice.choice(self.owning())
        with self.reading(project):
            found = list(Move.objects.filter(project=project, ended_at=None).values_list("id", "holder", "phase"))
        some = self.dice.sample(found, min(len(found), self.dice.randint(1, 4)))
        ids = [id for id, _, _ in some]
        with self.writing(project):
            self.lock_vms([holder for _, holder, _ in some])
            if any(phase == MovePhase.CLAIMED for _, _, phase in some) and self.dice.random() < 0.3:
                moves.sent(ids)
            elif self.dice.random() < 0.7:
                moves.seen(tenant_id=project.tenant_id, project_id=project.id, ids=ids)
            else:
                moves.undo(tenant_id=project.tenant_id, project_id=project.id, ids=ids)
