"""What can only be measured inside: `python -m tests.bench.programs.inside looks | core HOSTS VMS | drain HOSTS VMS`.

`looks` runs with the environment of a stack and reads its database; the others need none.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")
django.setup()

from facet.rest.dbtypes import CurrentXid  # noqa: E402  Django must be set up before its models are there
from facet.rest.ids import uuid7  # noqa: E402
from infra.models import Host as HostRow  # noqa: E402
from scheduler import ledger  # noqa: E402
from scheduler.core.ask import Ask, Plan, Policy  # noqa: E402
from scheduler.core.drain import drain_zone  # noqa: E402
from scheduler.core.fleet import Fleet  # noqa: E402
from scheduler.core.layout import Datastore, Host, Zone  # noqa: E402
from scheduler.core.place import place  # noqa: E402
from scheduler.core.standing import Standing  # noqa: E402
from tests.factories import as_system  # noqa: E402

TIMES = 15
GIB = 1024
SHAPES = [(1, 1), (2, 4), (4, 8), (8, 16), (16, 64)]  # vCPU, GiB
RACK = 25


def looks() -> dict[str, float]:
    """Milliseconds of a look at everything, of one after which nothing has changed, and of one after a claim."""
    ledger.look(full=True)
    return {
        "whole_ms": _median_ms(lambda: ledger.look(full=True)),
        "nothing_ms": _median_ms(ledger.look),
        "change_ms": _median_ms(ledger.look, before=_change),
    }


def _change() -> None:
    with as_system():
        HostRow.objects.filter(name="host-0").update(changed=CurrentXid())


def _median_ms(act: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    took = []
    for _ in range(TIMES):
        before()
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def core(hosts: int, vms: int) -> dict[str, float]:
    """Placements a second of a batch of one shape, and of one of a few shapes, on a fleet that is half full."""
    fleet, zones = _fleet(hosts)
    found = {}
    for name, shapes in (("one_shape", [(2, 4)]), ("five_shapes", SHAPES)):
        asks = [_ask(zones, *shapes[number % len(shapes)]) for number in range(vms)]
        took = []
        for seed in range(3):
            began = time.perf_counter()
            plan = place(asks, fleet, policy=Policy.SPREAD, seed=seed)
            took.append(time.perf_counter() - began)
            if not isinstance(plan, Plan):
                raise RuntimeError(f"no room for {name}: {plan}")
        found[name] = vms / statistics.median(took)
    asks = [_ask(zones, 1, 1)]
    began = time.perf_counter()
    for seed in range(200):
        place(asks, fleet, policy=Policy.SPREAD, seed=seed)
    return {**found, "single_ms": (time.perf_counter() - began) * 1000 / 200}


def drain(hosts: int, vms: int) -> dict[str, float]:
    """Seconds of a what-if that empties a zone of so many VMs, of five shapes, into the other two zones."""
    fleet, zones = _fleet(hosts)
    there = [host for host in fleet.hosts if host.zone_id == zones[0]]
    standing = []
    for number in range(vms):
        host = there[number % len(there)]
        ask = _ask(zones, *SHAPES[number % len(SHAPES)])
        standing.append(Standing(ask, host.id, host.datastores[0]))
    took = []
    for seed in range(3):
        began = time.perf_counter()
        found = drain_zone(fleet, standing, zones[0], policy=Policy.SPREAD, seed=seed)
        took.append(time.perf_counter() - began)
        if len(found.moved) != vms:
            raise RuntimeError(f"{len(found.left)} of {vms} find no room")
    return {"seconds": statistics.median(took)}


def _fleet(hosts: int) -> tuple[Fleet, tuple[UUID, ...]]:
    chance = random.Random(1)
    zones = [Zone(uuid7(), f"az{number}") for number in (1, 2, 3)]
    racks = range((hosts + RACK - 1) // RACK)
    stores = [Datastore(uuid7(), (zones[rack % 3].id,), 2_500_000, 0) for rack in racks]
    rows = [
        Host(
            uuid7(), zones[number // RACK % 3].id, 256, chance.randrange(128), 1 << 20, chance.randrange(1 << 19),
            datastores=(stores[number // RACK].id,),
        )
        for number in range(hosts)
    ]  # fmt: skip
    return Fleet.of(rows, stores, zones), tuple(zone.id for zone in zones)


def _ask(zones: tuple[UUID, ...], vcpu: int, memory_gib: int) -> Ask:
    return Ask(key=uuid7(), vcpu=vcpu, memory_mib=memory_gib * GIB, disk_gib=20, zones=zones, role="vm")


def main(what: str, *numbers: str) -> None:
    acts: dict[str, Callable[..., dict[str, float]]] = {"looks": looks, "core": core, "drain": drain}
    print(json.dumps(acts[what](*map(int, numbers))))


if __name__ == "__main__":
    main(*sys.argv[1:])
