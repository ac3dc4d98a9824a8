"""From a VM that a team asks for to a row that is not saved yet and an ask for the scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from facet.rest.ids import uuid7
from scheduler.core.ask import Ask
from tenants.models import Project

from . import boot_data, nics, sources
from .ground import Ground, ground
from .models import VM, VM_KIND
from .networks import lending
from .rules import of_ask

ROLE = "vm"  # what the asks of a request are called together


@dataclass(frozen=True)
class Wish:
    """VMs of one shape that are asked for, not saved yet, and the asks for their room in the same order."""

    ground: Ground
    vms: Sequence[VM]
    asks: Sequence[Ask]
    cards: Sequence[nics.Wanted] = ()


def wish(*, data: Mapping[str, Any], project: Project, count: int = 1) -> Wish:
    """What a valid request body asks for, `count` times. Raises Invalid naming the field, Conflict for what is closed.

    Writes nothing. Of several, each has its number behind its name.
    """
    rules = data["placement"]
    source = sources.of(project, data)
    where = ground(
        project=project, zones=data["zones"], image=None if source else data["image"], flavor=data["flavor"],
        storage_class=rules["storage_class"],
    )  # fmt: skip
    names = [data["name"]] if count == 1 else [f"{data['name'][:50]}-{number}" for number in range(1, count + 1)]
    vms = [_vm(name, data, where) for name in names]
    if source is not None:
        source.settle(vms, where.site)
    cards = nics.wanted(project=project, zones=where.zones, lent=where.networks, asked=data.get("nics", ()))
    if not cards:
        lending.check(where.zones, [net for nets in where.networks.values() for net in nets])
    asked = {
        "pools": tuple(where.pool_ids.values()),
        **nics.of_ask(cards, [zone.id for zone in where.zones], where.networks),
        **of_ask(rules),
    }
    asks = [
        Ask(key=vm.id, name=vm.name, role=ROLE, vcpu=vm.vcpu, memory_mib=vm.memory_mib, disk_gib=vm.disk_gib, **asked)
        for vm in vms
    ]
    return Wish(where, vms, asks, cards)


def _vm(name: str, data: Mapping[str, Any], where: Ground) -> VM:
    id = uuid7()
    return VM(
        id=id, tenant_id=where.project.tenant_id, project=where.project, name=name, image=where.image,
        vcpu=where.flavor.vcpu, memory_mib=where.flavor.memory_mib, disk_gib=where.flavor.disk_gib,
        flavor=where.flavor.name, power_wanted=data["power"], owner_kind=VM_KIND, owner_id=id,
        created_at=timezone.now(), ssh_keys=data.get("ssh_keys", []),
        user_data_sealed=boot_data.sealed(id, data.get("boot_data", "")),
    )  # fmt: skip
