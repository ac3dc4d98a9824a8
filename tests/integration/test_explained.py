"""Every refusal says what would have helped, and that is true; every allocation says why it stands where it does."""

import json

import pytest

from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict
from scheduler import ledger
from scheduler.ledger import Spend
from scheduler.models import Allocation, ResourcePool
from scheduler.services import Limits
from tenants import quota
from tenants.models import Quota
from tests import factories, ground, room, work
from tests.factories import as_system

GIB = 1024


@pytest.fixture
def acme():
    return factories.office("acme")


def refused(act):
    with pytest.raises(Conflict) as refusal:
        act()
    return refusal.value.more["nearest"], refusal.value


def kinds(nearest):
    return {one["kind"]: one["change"] for one in nearest}


def raise_(acme, change, by_less=0):
    """Do what the refusal proposes, as IT and the tenant's admin would; `by_less` of each."""
    with as_system():
        for one in sorted(change["raise"], key=lambda one: one["scope"] == "project"):  # the tenant's first
            to = one["to"] - by_less
            if "pool" in one:
                column = {"vcpu": "vcpu_limit", "memory_mib": "memory_limit_mib"}[one["resource"]]
                ResourcePool.objects.filter(name=one["pool"]).update(**{column: to})
                continue
            project = acme.project if one["scope"] == "project" else None
            quota.set_limits(
                tenant=acme.tenant, project=project, limits={one["resource"]: to}, zone_id=one["zone"], replace=False,
                by=SYSTEM,
            )  # fmt: skip


def test_a_refusal_names_the_limit_to_raise_and_by_how_much(acme):
    place = room.land(hosts=4, vcpu=1000)
    pool = room.pool(place, acme.tenant, limit=Limits(vcpu=10, memory_mib=30 * GIB))
    with as_system():
        Quota.objects.filter(project=acme.project, resource="vms", zone_id=None).update(limit=3)
    asks = [room.ask(place, pool, 3, 7 * GIB) for _ in range(5)]

    def act():
        room.claim(acme.project, pool, asks)

    nearest, refusal = refused(act)
    assert refusal.code == "pool_exceeded"
    change = kinds(nearest)["limits"]
    told = {(one["scope"], one["resource"]): one["by"] for one in change["raise"]}
    assert told == {("tenant pool", "vcpu"): 5, ("tenant pool", "memory_mib"): 5 * GIB, ("project", "vms"): 2}
    with as_system():
        assert not Allocation.objects.exists()
        assert Quota.objects.get(project=acme.project, resource="vms", zone_id=None).limit == 3
    room.check_books()
    raise_(acme, change, by_less=1)
    assert kinds(refused(act)[0])["limits"]["raise"], "one less than was named is not enough"
    raise_(acme, change)
    act()
    room.check_books()


def test_how_many_fit_within_the_limits_does_fit(acme):
    place = room.land(hosts=4, vcpu=1000)
    pool = room.pool(place, acme.tenant, limit=Limits(vcpu=10, memory_mib=None))
    asks = [room.ask(place, pool, 3) for _ in range(5)]
    nearest, _ = refused(lambda: room.claim(acme.project, pool, asks))
    count = kinds(nearest)["fewer"]["count"]
    assert count == 3
    refused(lambda: room.claim(acme.project, pool, asks[: count + 1]))
    room.claim(acme.project, pool, asks[:count])
    room.check_books()


def test_a_quota_that_was_never_set_is_named_with_all_that_is_needed(acme):
    place = room.land(vcpu=100)
    pool = room.pool(place, acme.tenant)
    with as_system():
        Quota.objects.filter(resource="storage_gib").delete()
    nearest, _ = refused(lambda: room.claim(acme.project, pool, [room.ask(place, pool, 1, GIB, 40)]))
    change = kinds(nearest)["limits"]
    assert {(one["scope"], one["to"]) for one in change["raise"]} == {("project", 40), ("tenant", 40)}
    raise_(acme, change)
    room.claim(acme.project, pool, [room.ask(place, pool, 1, GIB, 40)])


def test_a_count_that_a_role_may_not_have_is_not_proposed(acme):
    place = room.land(hosts=5, vcpu=100)
    pool = room.pool(place, acme.tenant, limit=Limits(vcpu=4, memory_mib=None))
    asks = [room.ask(place, pool, 1, role="control_plane") for _ in range(5)]
    nearest, _ = refused(lambda: room.claim(acme.project, pool, asks, counts={"control_plane": (1, 3, 5)}))
    assert kinds(nearest)["fewer"] == {"role": "control_plane", "count": 3}


def test_what_is_spent_beyond_the_machines_is_raised_too(acme):
    place = room.land(vcpu=100)
    pool = room.pool(place, acme.tenant)
    many = [Spend(None, "clusters", 51)]
    nearest, _ = refused(lambda: room.claim(acme.project, pool, [room.ask(place, pool)], spend=many))
    assert kinds(nearest)["limits"]["raise"] == [
        {"scope": "project", "zone": None, "resource": "clusters", "by": 1, "to": 51}
    ]


def test_every_allocation_says_why_that_host(acme):
    place = room.land(hosts=3, vcpu=8)
    pool = room.pool(place, acme.tenant)
    room.claim(acme.project, pool, [room.ask(place, pool, 2) for _ in range(5)])
    with as_system():
        ids = list(Allocation.objects.values_list("id", flat=True))
        hosts = {host.name for host in place.hosts}
    for id in ids:
        answer = acme.viewer.get(f"allocations/{id}/why")
        assert answer.status == 200
        assert answer["allocation"]["host"] in hosts
        assert answer["sentence"].startswith("Of 3 hosts 3 would do; policy spread chose host-")
        assert [row["filter"] for row in answer["why"]["filters"]][:2] == ["zone", "open"]
        assert answer["why"]["next_best"]["name"] in hosts
        assert answer["ask"]["vcpu"] == 2


@pytest.fixture
def land(tmp_path):
    """Two zones of four hosts; those of the first are small."""
    with ground.simulated(tmp_path, zones=2) as found:
        for number in range(1, 5):
            found.site.by_hand.hand("host", name=f"rack-1-host-{number}", cpu_cores=1, memory_mib=9 * GIB)
        found.sync()
        yield found


def tried(land, path, asked, near):
    """Ask for what the refusal says would fit."""
    change, body = near["change"], json.loads(json.dumps(asked)) | {"name": f"{near['kind']}-{len(near['sentence'])}"}
    role = change.get("role")
    if near["kind"] == "zone":
        body["zones"] = [change["name"]]
    elif path == "vms":
        body["flavor"] = change["flavor"]
    else:
        part = body["control_planes"] if role == "control_plane" else body["node_pools"][0]
        key = {"flavor": "flavor", "fewer": "count" if role == "control_plane" else "size"}[near["kind"]]
        part[key] = change["flavor" if near["kind"] == "flavor" else "count"]
    return land.editor.post(f"{land.project}/{path}", body)


@pytest.mark.parametrize(
    ("path", "asked", "kinds"),
    [
        ("vms", {"flavor": "large", "image": "kube"}, {"flavor", "zone"}),
        ("clusters", {"node_pools": [{"name": "workers", "size": 9, "flavor": "small"}]}, {"fewer", "flavor", "zone"}),
        ("clusters", {"control_planes": {"count": 3, "flavor": "large"}}, {"flavor", "zone"}),
        ("clusters", {"control_planes": {"count": 5, "flavor": "small"}}, {"fewer"}),
    ],
)
def test_every_nearest_fit_does_fit(land, path, asked, kinds):
    body = {"name": "db", "zones": ["az1"], **asked}
    answer = land.editor.post(f"{land.project}/{path}", body)
    assert (answer.status, answer["code"]) == (409, "no_room")
    assert {near["kind"] for near in answer["nearest"]} == kinds
    for near in answer["nearest"]:
        fits = tried(land, path, body, near)
        assert fits.status == 202, (near, fits)
        noun = path.removesuffix("s")
        work.succeed(land.editor, land.editor.delete(f"{path}/{fits[noun]['id']}"))


def test_a_zone_whose_pool_could_not_bear_it_is_not_named(land):
    with as_system():
        ResourcePool.objects.filter(name="az2").update(vcpu_limit=7)
    answer = land.editor.post(f"{land.project}/vms", {"name": "db", "zones": ["az1"], "flavor": "large"})
    assert (answer.status, [near["kind"] for near in answer["nearest"]]) == (409, ["flavor"])


def test_a_dry_run_of_the_ledger_leaves_nothing(acme):
    """Savepoints that are taken back leave no row and no counter."""
    place = room.land(hosts=2, vcpu=10)
    pool = room.pool(place, acme.tenant, limit=Limits(vcpu=2, memory_mib=None))
    before = ledger.look(full=True).vcpu_claimed.tolist()
    refused(lambda: room.claim(acme.project, pool, [room.ask(place, pool, 1) for _ in range(4)]))
    assert ledger.look(full=True).vcpu_claimed.tolist() == before
    room.check_books()
