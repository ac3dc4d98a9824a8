"""What IT and tenants' admins do meanwhile, through the API: pools with guarantees made, changed and deleted, quotas
lowered and raised. A pool that goes is gone when a pass has seen it gone."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from django.utils import timezone

from facet.rest.endpoint import LookAgain
from facet.rest.problems import Problem
from scheduler.models import PoolPhase, ResourcePool
from tests.client import Answer, Api
from tests.factories import as_system
from tests.gauntlet.course import Course
from tests.room import GIB

RESOURCES = ("vcpu", "memory_mib", "storage_gib", "vms")
UNITS = {"vcpu": 1, "memory_mib": 2 * GIB, "storage_gib": 10, "vms": 1}


class Keeper:
    """Dice that speak as IT."""

    def __init__(self, course: Course, dice: random.Random, it: Api) -> None:
        self.course, self.dice, self.it = course, dice, it
        self.verbs: Mapping[str, Callable[[], None]] = {
            "pool-made": self.make_pool,
            "pool-changed": self.change_pool,
            "pool-deleted": self.delete_pool,
            "pool-gone": self.bury,
            "quota": self.set_quota,
        }

    def make_pool(self) -> None:
        project = self.dice.choice(self.course.projects)
        zone = self.dice.choice(self.course.zones)
        self.said(self.it.post(f"projects/{project.id}/pools", {"zone": zone.name, **self.amounts(8)}))

    def amounts(self, most: int) -> dict[str, Any]:
        """A model with its amounts: of so many vCPUs, and 2 GiB for each."""
        model = self.dice.choice(("on-demand", "reserved", "flex"))
        kept = self.dice.randint(1, most)
        limit = kept + self.dice.randint(0, most)
        found: dict[str, Any] = {"model": model}
        if model != "on-demand":
            found["reserved"] = {"vcpu": kept, "memory_mib": kept * 2 * GIB}
        if model != "reserved":
            found["limit"] = {"vcpu": limit, "memory_mib": limit * 2 * GIB}
        return found

    def change_pool(self) -> None:
        """Another size, often below what is used; of tenants' pools too."""
        pool = self.some_pool()
        if pool is not None:
            self.said(self.it.patch(f"pools/{pool.id}", self.amounts(40 if pool.project_id is None else 10)))

    def delete_pool(self) -> None:
        pool = self.some_pool(of_projects=True)
        if pool is not None:
            self.said(self.it.delete(f"pools/{pool.id}"))

    def some_pool(self, of_projects: bool = False) -> ResourcePool | None:
        with as_system():
            found = list(ResourcePool.objects.filter(deleted_at=None).exclude(phase=PoolPhase.DELETING))
        chosen = [pool for pool in found if pool.project_id is not None or not of_projects]
        return self.dice.choice(chosen) if chosen else None

    def bury(self) -> None:
        """What the pass does that has removed the pool's mirror at the site."""
        with as_system():
            going = ResourcePool.objects.filter(phase=PoolPhase.DELETING, deleted_at=None)
            going.update(deleted_at=timezone.now())

    def set_quota(self) -> None:
        """A limit near to what is used, now and then below it."""
        project = self.dice.choice(self.course.projects)
        path = f"projects/{project.id}/quota" if self.dice.random() < 0.7 else f"tenants/{project.tenant_id}/quota"
        rows = [row for row in self.it.get(path)["items"] if row["resource"] in RESOURCES]
        row = self.dice.choice(rows)
        step = UNITS[row["resource"]] * self.dice.randint(-6, 40)
        zone = self.dice.choice([None, None, self.dice.choice(self.course.zones).name])
        limit = None if zone and self.dice.random() < 0.5 else max(0, row["used"] + step)
        self.said(self.it.patch(path, {"limits": {row["resource"]: limit}, "zone": zone}))

    @staticmethod
    def said(answer: Answer) -> None:
        """Raises what a refusal stands for."""
        if answer.status == 503:
            raise LookAgain(answer["detail"])
        if 400 <= answer.status < 500:
            raise Problem(answer["detail"], code=answer["code"], status=answer.status)
        if answer.status >= 300:
            raise AssertionError(f"the API answered {answer}")
