"""What a what-if says is then carried out on a simulated site, and compared."""

from collections import Counter

import pytest

from tests import ground, work

GIB = 1024


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def hosts_of(land, zone):
    rows = land.it.get(f"sites/{land.site_id}/hosts?zone={zone}&page_size=200")["items"]
    return sorted(row["name"] for row in rows)


def resized(land, names, **size):
    """Give these hosts another size or state, by hand at the site, and look."""
    for name in names:
        land.site.by_hand.hand("host", name=name, **size)
    land.sync()


def zone_id(land, name):
    return land.it.get(f"zones?name={name}")["items"][0]["id"]


def host_id(land, name):
    return land.it.get(f"sites/{land.site_id}/hosts?name={name}")["items"][0]["id"]


def what_if(land, zone, **supposed):
    answer = land.it.post(f"zones/{zone_id(land, zone)}/what-if", supposed)
    assert answer.status == 200, answer
    return answer.body


def ask(land, name, zones):
    """The answer to a request for a VM of flavor small: 2 vCPUs."""
    return land.editor.post(f"{land.project}/vms", {"name": name, "zones": zones, "flavor": "small", "image": "kube"})


def small_gib(land):
    return next(row for row in land.it.get("flavors")["items"] if row["name"] == "small")["memory_mib"] // GIB


def counts(told):
    return {row["flavor"]: row["count"] for row in told["flavors"]}


def test_a_drain_comes_out_as_foretold(land):
    """Three VMs on one host. While the others have room for two of them, one is named and nothing begins; with room for
    all of them they are spread as it was told; which of two equal hosts takes two is the seed's to say."""
    zone, names = land.zones[0], hosts_of(land, land.zones[0])
    resized(land, names[1:], state="maintenance")
    for number in range(3):
        work.succeed(land.editor, ask(land, f"vm-{number}", [zone]))
    resized(land, names[1:2], state="up", memory_mib=2 * small_gib(land) * GIB)
    told = what_if(land, zone, kind="drain_hosts", hosts=names[:1])
    assert (told["fits"], told["asked"], told["placed"]) == (False, 3, 2)
    full = land.it.post(f"hosts/{host_id(land, names[0])}/drain")
    assert (full.status, full["code"]) == (409, "no_room")
    assert [row["name"] for row in full["holders"]] == [row["vm"] for row in told["unplaced"]]

    resized(land, names[2:3], state="up", memory_mib=2 * small_gib(land) * GIB)
    told = what_if(land, zone, kind="drain_hosts", hosts=names[:1])
    assert (told["fits"], told["placed"]) == (True, 3)
    work.succeed(land.it, land.it.post(f"hosts/{host_id(land, names[0])}/drain"))
    vms = land.editor.get(f"{land.project}/vms?page_size=100")["items"]
    went, foretold = Counter(vm["host"] for vm in vms), Counter(move["to"] for move in told["moves"])
    assert (set(went), sorted(went.values())) == (set(foretold), sorted(foretold.values()))
    now = land.it.get(f"zones/{zone_id(land, zone)}/capacity")
    assert (counts(now), now["fragmentation"]) == (counts(told["after"]), told["after"]["fragmentation"])


def test_a_lost_zone_comes_out_as_foretold(land):
    one, other = land.zones
    there = hosts_of(land, other)
    resized(land, there, state="maintenance")
    for number in range(6):
        assert ask(land, f"vm-{number}", land.zones).status == 202
    resized(land, there[:2], state="up", memory_mib=2 * small_gib(land) * GIB)  # room for four of the six
    told = what_if(land, one, kind="lose_zone")
    assert (told["fits"], told["asked"], told["placed"]) == (False, 6, 4)
    assert {move["zone"] for move in told["moves"]} == {other}
    assert {move["to"] for move in told["moves"]} == set(there[:2])
    assert all(row["filters"] and "2 of 4" not in row["sentence"] for row in told["unplaced"])
    assert counts(told["after"])["small"] == 0

    resized(land, hosts_of(land, one), state="down")
    order = [row["vm"] for row in (*told["moves"], *told["unplaced"])]
    answers = [ask(land, f"{name}-again", land.zones) for name in order]
    assert [answer.status for answer in answers] == [202] * 4 + [409] * 2
    assert {answer["vm"]["zone"] for answer in answers[:4]} == {other}


def test_added_hosts_come_out_as_foretold(land):
    zone, names = land.zones[0], hosts_of(land, land.zones[0])
    path = f"zones/{zone_id(land, zone)}"
    work.succeed(land.it, land.it.patch(path, {"selector": {"hosts": names[:1]}}))
    assert ask(land, "db", [zone]).status == 202
    told = what_if(land, zone, kind="add_hosts", count=len(names) - 1, like=names[0])
    assert (told["fits"], told["asked"]) == (True, 0)
    assert counts(told["before"]) == counts(land.it.get(f"{path}/capacity"))
    assert counts(told["after"])["small"] > counts(told["before"])["small"]

    work.succeed(land.it, land.it.patch(path, {"selector": {"hosts": names}}))
    now = land.it.get(f"{path}/capacity")
    assert (counts(now), now["fragmentation"]) == (counts(told["after"]), told["after"]["fragmentation"])


def test_a_replay_comes_out_as_foretold(land):
    """Three stand where five have room. Of four that come, the first goes before the last comes: one is refused."""
    zone, names = land.zones[0], hosts_of(land, land.zones[0])
    resized(land, names[1:], state="maintenance")
    resized(land, names[:1], memory_mib=5 * small_gib(land) * GIB)

    def come(suffix):
        """Ask for a, b and c, delete a, ask for d; answers who was let in."""
        let_in = [name for name in "abc" if ask(land, f"{name}{suffix}", [zone]).status == 202]
        first = land.editor.get(f"{land.project}/vms?name=a{suffix}")["items"][0]
        work.succeed(land.editor, land.editor.delete(f"vms/{first['id']}"))
        return let_in + ["d"] * (ask(land, f"d{suffix}", [zone]).status == 202)

    assert come("") == ["a", "b", "c", "d"]
    told = what_if(land, zone, kind="replay", days=1)
    assert (told["fits"], told["asked"], told["placed"]) == (False, 4, 3)
    assert [row["vm"] for row in told["unplaced"]] == ["c"]
    more = what_if(land, zone, kind="replay", days=1, count=1, like=names[0])
    assert (more["fits"], more["placed"]) == (True, 4)

    assert come("-again") == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("supposed", "field"),
    [
        ({"kind": "drain_hosts"}, "hosts"),
        ({"kind": "drain_hosts", "hosts": []}, "hosts"),
        ({"kind": "drain_hosts", "hosts": ["nowhere"]}, "hosts"),
        ({"kind": "drain_zone", "hosts": ["a"]}, "hosts"),
        ({"kind": "add_hosts", "count": 2}, "like"),
        ({"kind": "add_hosts", "count": 0, "like": "a"}, "count"),
        ({"kind": "add_hosts", "count": 1, "like": "nowhere"}, "like"),
        ({"kind": "replay"}, "days"),
        ({"kind": "replay", "days": 3, "count": 1}, "like"),
        ({"kind": "replay", "days": 1.5}, "days"),
        ({"kind": "burn"}, "kind"),
        ({}, "kind"),
    ],
)
def test_a_supposition_that_is_none_is_refused_by_name(land, supposed, field):
    answer = land.it.post(f"zones/{zone_id(land, land.zones[0])}/what-if", supposed)
    assert answer.status == 422
    assert field in answer["errors"]


def test_tenants_may_not_suppose(land):
    path = f"zones/{zone_id(land, land.zones[0])}/what-if"
    assert land.office.tenant_admin.post(path, {"kind": "drain_zone"}).status == 403
