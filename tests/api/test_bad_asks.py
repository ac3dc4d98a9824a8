"""Bad amounts, closed zones, rules that cannot be met: 422 with the field or 409 with reasons, soon, nothing held."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.models import Zone, ZonePhase
from tests import factories
from tests.api import world
from tests.client import Answer, Api
from tests.factories import as_system

SOON_S = 10.0  # with the whole machine busy; each takes far less
ABSURD = (0, -1, 1.5, 2.0, 2**63, 10**30, "4", True, None, [], {}, 1e300)
WORKERS = [{"name": "workers", "size": 3}]
MANY = 1000
NOT_MORE = ("no_room", "guarantee_in_use", "zone_not_active")


@dataclass(frozen=True)
class Case:
    """A request that must be refused. `says`: the fields that a 422 may name, or the code of a 409."""

    what: str
    path: str
    body: Any
    status: int
    says: tuple[str, ...]
    method: str = "POST"


@dataclass(frozen=True)
class Here:
    it: Api
    project: str
    tenant: str
    other: str  # the id of a tenant that has nothing
    ids: world.Ids


@pytest.fixture
def here():
    it, platform = world.platform()
    acme = world.belongings(it, "acme")
    return Here(
        it, f"projects/{acme.project.id}", f"tenants/{acme.tenant.id}",
        str(factories.tenant("bare").id), platform | acme.whole | acme.ids,
    )  # fmt: skip


def cluster(**body: Any) -> dict[str, Any]:
    return {"name": "web", "zones": ["az1"], "node_pools": WORKERS, **body}


def amounts(here: Here) -> Iterator[Case]:
    """Zero, negative, fractional and overflowing amounts, and what is no number, wherever an amount is said."""
    clusters, pools = f"{here.project}/clusters", f"{here.tenant}/pools"
    pool, node_pool = here.ids["pools"][0], here.ids["node-pools"][0]
    for bad in ABSURD:
        nodes = [{"name": "workers", "size": bad}]
        planes = {"count": bad}
        limit = {"zone": "az2", "model": "on-demand", "limit": {"vcpu": bad}}
        kept = {"zone": "az2", "model": "reserved", "reserved": {"vcpu": 4, "memory_mib": bad}}
        size = ("node_pools.0.size",)
        if bad != 0:  # no nodes yet are nodes
            yield Case(f"{bad!r} nodes", clusters, cluster(node_pools=nodes), 422, size)
            yield Case(f"{bad!r} nodes, dry", f"{here.project}/placements", cluster(node_pools=nodes), 422, size)
            yield Case(f"to {bad!r} nodes", f"node-pools/{node_pool}", {"size": bad}, 422, ("size",), "PATCH")
            if bad is not None:
                for of in (here.tenant, here.project):
                    yield Case(
                        f"quota {bad!r}", f"{of}/quota", {"limits": {"vcpu": bad}}, 422, ("limits.vcpu",), "PATCH"
                    )
        yield Case(f"{bad!r} control planes", clusters, cluster(control_planes=planes), 422, ("control_planes.count",))
        if bad is not None:
            yield Case(f"a pool of {bad!r}", pools, limit, 422, ("limit.vcpu",))
            yield Case(f"a pool to {bad!r}", f"pools/{pool}", {"limit": {"vcpu": bad}}, 422, ("limit.vcpu",), "PATCH")
        yield Case(f"a guarantee of {bad!r}", pools, kept, 422, ("reserved.memory_mib",))


def names(here: Here) -> Iterator[Case]:
    """Resources, zones, flavors and labels that there are not; and far too many of what there is."""
    clusters, vms = f"{here.project}/clusters", f"{here.project}/vms"
    for of in (here.tenant, here.project):
        yield Case("gpus", f"{of}/quota", {"limits": {"gpus": 1}}, 422, ("limits.gpus",), "PATCH")
        yield Case(
            "gpus in a zone", f"{of}/quota", {"limits": {"gpus": 1}, "zone": "az1"}, 422, ("limits.gpus",), "PUT"
        )
    on_demand = {"zone": "az2", "model": "on-demand"}
    yield Case("a pool's gpus", f"{here.tenant}/pools", on_demand | {"limit": {"gpus": 1}}, 422, ("limit.gpus",))
    yield Case("a model", f"{here.tenant}/pools", on_demand | {"model": "spot"}, 422, ("model",))
    many = [f"az{number}" for number in range(MANY)]
    for path, body in ((clusters, cluster()), (vms, {"name": "web", "zones": []})):
        yield Case("a thousand zones", path, body | {"zones": many}, 422, ("zones",))
        yield Case("one zone a thousand times", path, body | {"zones": ["az1"] * MANY}, 422, ("zones",))
        yield Case("no zone", path, body | {"zones": []}, 422, ("zones",))
        yield Case("a zone that is none", path, body | {"zones": ["az9"]}, 422, ("zones",))
    yield Case(
        "a flavor", clusters, cluster(node_pools=[{"name": "a", "size": 1, "flavor": "vast"}]), 422, ("node_pools",)
    )
    yield Case("a flavor", vms, {"name": "web", "zones": ["az1"], "flavor": "vast"}, 422, ("flavor",))
    pools = [{"name": f"p{number}", "size": 1} for number in range(MANY)]
    yield Case("a thousand pools", clusters, cluster(node_pools=pools), 422, ("node_pools",))
    labels = {f"rack-{number}": "r1" for number in range(MANY)}
    for rule in ("require", "prefer", "avoid"):
        body = {"name": "web", "zones": ["az1"], "placement": {rule: labels}}
        yield Case(f"{rule} a thousand labels", vms, body, 422, (f"placement.{rule}",))
    limits = {f"resource-{number}": 1 for number in range(MANY)}
    yield Case("a thousand resources", f"{here.project}/quota", {"limits": limits}, 422, ("limits",), "PATCH")


def rules(here: Here) -> Iterator[Case]:
    """What is well said and cannot be had."""
    clusters, pools = f"{here.project}/clusters", f"{here.project}/pools"
    dry = f"{here.project}/placements"
    yield Case("5 control planes on 3 hosts", clusters, cluster(control_planes={"count": 5}), 409, ("no_room",))
    yield Case("5 control planes on 3 hosts, dry", dry, cluster(control_planes={"count": 5}), 200, ("no_room",))
    apart = {"anti_affinity": "required"}
    yield Case("7 workers apart", clusters, cluster(node_pools=[{"name": "a", "size": 7, "placement": apart}]), 409,
               ("no_room",))  # fmt: skip
    nowhere = {"name": "web", "zones": ["az1"], "placement": {"require": {"gpu": "yes"}}}
    yield Case("a label of no host", f"{here.project}/vms", nowhere, 409, ("no_room",))
    huge = [{"name": f"p{number}", "size": 5000} for number in range(20)]
    for path in (clusters, dry):
        yield Case("20 pools of 5,000", path, cluster(node_pools=huge), 422, ("node_pools",))
    largest = cluster(
        node_pools=[{"name": f"p{number}", "size": 260} for number in range(19)],
        network={"pod_cidr": "10.0.0.0/8", "service_cidr": "192.168.0.0/16"},
    )
    yield Case("a cluster as large as may be asked for", clusters, largest, 409, ("no_room",))
    yield Case("one so large, dry", dry, largest, 200, ("no_room",))
    node_pool = here.ids["node-pools"][0]
    yield Case("to 5,000 nodes", f"node-pools/{node_pool}", {"size": 5000}, 409, ("no_room", "not_ready"), "PATCH")
    beyond = {"zone": "az2", "model": "reserved", "reserved": {"vcpu": 10**12, "memory_mib": 10**12}}
    yield Case("a guarantee beyond the zone", f"{here.tenant}/pools", beyond, 409, ("no_room",))
    yield Case("a pool twice", pools, world.PART, 409, ("pool_exists",))


def closed(here: Here) -> Iterator[Case]:
    """A zone that is being drained takes nothing new."""
    for zone in ("az1", "az2"):
        pool = {"zone": zone, "model": "on-demand"}
        yield Case(f"a pool in {zone}", f"tenants/{here.other}/pools", pool, 409, ("zone_not_active",))
        yield Case(f"a cluster in {zone}", f"{here.project}/clusters", cluster(zones=[zone]), 409, ("zone_not_active",))
        yield Case(
            f"a VM in {zone}", f"{here.project}/vms", {"name": "web", "zones": [zone]}, 409, ("zone_not_active",)
        )
    more = {"model": "flex", "reserved": {"vcpu": 4, "memory_mib": 4096}, "limit": {"vcpu": 100, "memory_mib": 262144}}
    yield Case("a guarantee there", f"pools/{here.ids['pools'][0]}", more, 409, NOT_MORE, "PATCH")


def deep(here: Here) -> Iterator[Case]:
    body: Any = 1
    for _ in range(60):
        body = {"limits": body}
    yield Case("deep JSON", f"{here.project}/quota", body, 400, ("malformed",), "PATCH")
    yield Case("deep lists", f"{here.project}/clusters", cluster(zones=[[[[["az1"]]]]]), 422, ("zones",))


def answered(here: Here, case: Case) -> Answer:
    return here.it.call(case.method, case.path, case.body)


def wrong(case: Case, answer: Answer, took_s: float) -> str | None:
    """What is wrong with a refusal, or with a dry run that finds no room."""
    if answer.status != case.status or not (answer.is_problem or answer.body.get("fits") is False):
        return f"{case.what}: {answer.status} {str(answer.body)[:300]}"
    named = answer.body.get("errors", {})
    said = [name for name in named if name.startswith(case.says)] or [answer["code"]]
    if not set(said) & {*case.says, *(named if case.status == 422 else ())}:
        return f"{case.what}: says {answer['code']}, {list(named)} and not {case.says}"
    if case.status != 422 and not answer["detail"]:
        return f"{case.what}: no reason"
    return f"{case.what}: took {took_s:.1f} s" if took_s > SOON_S else None


@pytest.mark.parametrize("of", [amounts, names, rules, closed, deep], ids=lambda of: of.__name__)
def test_bad_asks_are_refused_and_hold_nothing(here, of):
    if of is closed:
        with as_system():
            Zone.objects.filter(name="az1").update(phase=ZonePhase.DRAINING)
            Zone.objects.filter(name="az2").update(phase=ZonePhase.DISABLED)
    faults = []
    before = world.fingerprints()
    for case in of(here):
        began = time.monotonic()
        fault = wrong(case, answered(here, case), time.monotonic() - began)
        after = world.fingerprints()
        left = [f"{case.what}: left something in {table}" for table in world.changed(before, after)]
        faults += [*([fault] if fault else []), *left]
        before = after
    assert not faults, f"{len(faults)}\n" + "\n".join(faults)
