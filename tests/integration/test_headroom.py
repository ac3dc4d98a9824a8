"""N+k failover headroom: what it takes from every host, how it follows their number, and what it is good for."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from facet.operations.models import Event
from facet.rest.ids import uuid7
from facet.rest.problems import Problem
from infra import capacity, looks
from infra.models import Host, Zone
from scheduler import ledger
from scheduler.core.ask import Ask, Plan, Policy
from scheduler.core.fleet import Fleet
from scheduler.core.layout import Host as Row
from scheduler.core.layout import Zone as Area
from scheduler.core.place import place
from scheduler.models import Allocation
from tests import factories, room, sites
from tests.factories import as_system

CORES, MEMORY_MIB, OVERCOMMIT = 16, 65536, 4  # of tests.sites


def limits(zone):
    with as_system():
        rows = Host.objects.filter(zone=zone).order_by("ref")
        return {host.ref: (host.vcpu_limit, host.memory_limit_mib) for host in rows}


def kept_free(k, n):
    """What is left of a host when each of n keeps k/n of itself free."""
    return CORES * OVERCOMMIT * (n - k) // n, MEMORY_MIB * (n - k) // n


def look(site, found):
    """A complete look, with what it makes of zones."""
    sites.observe(site, found)
    with as_system():
        for zone in Zone.objects.filter(site=site, deleted_at=None):
            looks._look_again(zone)


def told(verb):
    with as_system():
        return list(Event.objects.filter(verb=verb).order_by("seq"))


def test_headroom_follows_the_number_of_hosts(admin):
    def hosts(*numbers, **changes):
        return sites.world([sites.host(number, **changes) for number in numbers])

    site = sites.registered(found=hosts(1, 2, 3, 4))
    zone = sites.carved(site)
    assert set(limits(zone).values()) == {(CORES * OVERCOMMIT, MEMORY_MIB)}
    changed = admin.patch(f"zones/{zone.id}", {"failover_hosts": 1})
    assert (changed.status, changed["zone"]["failover_hosts"]) == (202, 1)
    assert limits(zone) == {f"host-{n}": kept_free(1, 4) for n in (1, 2, 3, 4)}

    look(site, hosts(1, 2, 3))  # one goes
    now = limits(zone)
    assert [now[f"host-{n}"] for n in (1, 2, 3)] == [kept_free(1, 3)] * 3
    look(site, hosts(1, 2, 3, 4))  # and comes back
    assert limits(zone) == {f"host-{n}": kept_free(1, 4) for n in (1, 2, 3, 4)}
    look(site, hosts(1, 2, 3, 4, 5))  # one joins by the selector
    assert limits(zone) == {f"host-{n}": kept_free(1, 5) for n in (1, 2, 3, 4, 5)}
    look(site, sites.world([sites.host(n) for n in (1, 2, 3)] + [sites.host(n, rack=2) for n in (4, 5)]))  # two leave
    assert limits(zone) == {f"host-{n}": kept_free(1, 3) for n in (1, 2, 3)}
    assert set(Host.objects.filter(zone=None).values_list("vcpu_limit", flat=True)) == {0}

    changed = admin.patch(f"zones/{zone.id}", {"selector": {"hosts": ["host-1.example.org", "host-2.example.org"]}})
    assert changed.status == 202, changed
    assert limits(zone) == {f"host-{n}": kept_free(1, 2) for n in (1, 2)}
    assert admin.patch(f"zones/{zone.id}", {"failover_hosts": 0}).status == 202
    assert limits(zone) == {f"host-{n}": kept_free(0, 2) for n in (1, 2)}


def test_a_new_zone_has_its_headroom_from_the_start(admin):
    sites.registered(found=sites.world([sites.host(n) for n in (1, 2, 3)]))
    made = admin.post("zones", {"name": "az1", "site": "dc1", "selector": {"label": "rack=r1"}, "failover_hosts": 2})
    assert (made.status, made["zone"]["failover_hosts"]) == (202, 2)
    assert set(limits(Zone.objects.get()).values()) == {kept_free(2, 3)}


@pytest.mark.parametrize("failover_hosts", [2, 3, 1000, 1001, -1, 1.5, "1", True, None])
def test_headroom_that_cannot_be_is_422_and_changes_nothing(admin, failover_hosts):
    sites.registered(found=sites.world([sites.host(n) for n in (1, 2)]))
    ask = {"name": "az1", "site": "dc1", "selector": {"label": "rack=r1"}}
    refused = admin.post("zones", ask | {"failover_hosts": failover_hosts})
    assert (refused.status, list(refused["errors"])) == (422, ["failover_hosts"])
    assert not Zone.objects.exists()
    id = admin.post("zones", ask)["zone"]["id"]
    refused = admin.patch(f"zones/{id}", {"failover_hosts": failover_hosts})
    assert (refused.status, list(refused["errors"])) == (422, ["failover_hosts"])
    assert set(limits(Zone.objects.get()).values()) == {kept_free(0, 2)}


def test_a_selector_that_leaves_no_host_but_the_spare_ones_is_422(admin):
    site = sites.registered(found=sites.world([sites.host(n) for n in (1, 2, 3)]))
    zone = sites.carved(site)
    assert admin.patch(f"zones/{zone.id}", {"failover_hosts": 2}).status == 202
    refused = admin.patch(f"zones/{zone.id}", {"selector": {"hosts": ["host-1.example.org", "host-2.example.org"]}})
    assert (refused.status, list(refused["errors"])) == (422, ["selector"])
    assert len(limits(zone)) == 3


def test_a_zone_that_has_lost_all_hosts_but_the_spare_ones_takes_nothing_and_is_right_again_with_them():
    site = sites.registered(found=sites.world([sites.host(n) for n in (1, 2)]))
    zone = sites.carved(site, failover_hosts=1)
    look(site, sites.world([sites.host(1)]))
    assert limits(zone)["host-1"] == (0, 0)
    look(site, sites.world([sites.host(1), sites.host(2)]))
    assert set(limits(zone).values()) == {kept_free(1, 2)}


def test_a_limit_that_falls_below_what_is_claimed_is_written_down_and_never_fails():
    site = sites.registered(found=sites.world([sites.host(n) for n in (1, 2, 3, 4)]))
    zone = sites.carved(site, failover_hosts=1)
    sites.claim("host-1.example.org", vcpu=48, memory_mib=49152)  # all of 3/4
    look(site, sites.world([sites.host(n) for n in (1, 2)]))
    host = Host.objects.get(ref="host-1")
    assert (host.vcpu_limit, host.vcpu_overdrawn, host.memory_overdrawn_mib) == (32, 16, 16384)
    (event,) = told("zone.headroom_changed")
    assert (event.target_id, event.before, event.after) == (
        zone.id, {"hosts": 4}, {"hosts": 2, "failover_hosts": 1}
    )  # fmt: skip
    look(site, sites.world([sites.host(n) for n in (1, 2, 3, 4)]))
    host.refresh_from_db()
    assert (host.vcpu_limit, host.vcpu_overdrawn, host.memory_overdrawn_mib) == (48, 0, 0)


def test_without_headroom_hosts_may_come_and_go_and_no_other_row_is_written():
    site = sites.registered(found=sites.world([sites.host(n) for n in (1, 2, 3)]))
    zone = sites.carved(site)
    before = dict(Host.objects.values_list("ref", "changed"))
    look(site, sites.world([sites.host(n) for n in (1, 2)]))
    after = dict(Host.objects.values_list("ref", "changed"))
    assert {ref for ref in before if before[ref] != after[ref]} == {"host-3"}
    zone.refresh_from_db()
    assert (zone.hosts_counted, told("zone.headroom_changed")) == (2, [])


def test_a_look_killed_before_the_limits_followed_is_made_good_by_the_next():
    """The number is written, and the process dies: some limits are of the number before."""
    site = sites.registered(found=sites.world([sites.host(n) for n in (1, 2, 3)]))
    zone = sites.carved(site, failover_hosts=1)
    less = sites.world([sites.host(n) for n in (1, 2)])
    sites.observe(site, less)
    with as_system():
        Host.objects.filter(ref="host-2").update(vcpu_limit=kept_free(1, 3)[0], memory_limit_mib=kept_free(1, 3)[1])
    sites.observe(site, less)
    assert [limits(zone)[ref] for ref in ("host-1", "host-2")] == [kept_free(1, 2)] * 2


def test_observers_and_people_who_change_the_number_at_once_leave_the_limits_of_the_last_number(admin):
    site = sites.registered(found=sites.world([sites.host(n) for n in range(1, 31)]))
    zone = sites.carved(site, failover_hosts=1)
    chance = random.Random(5)
    numbers = [chance.sample(range(1, 31), chance.randint(5, 30)) for _ in range(12)]

    def act(at):
        try:
            if at % 3 == 0:
                return admin.patch(f"zones/{zone.id}", {"failover_hosts": 1 + at % 4}).status
            look(site, sites.world([sites.host(n) for n in numbers[at]]))
            return 202
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        answers = set(threads.map(act, range(12)))
    assert answers <= {202, 409, 422}  # 422: at that moment the zone had no more hosts than were to be kept free
    assert 202 in answers
    look(site, sites.world([sites.host(n) for n in range(1, 21)]))
    zone.refresh_from_db()
    with as_system():
        living = Host.objects.filter(zone=zone).exclude(state="gone")
        found = {(host.vcpu_limit, host.memory_limit_mib) for host in living}
    assert (zone.hosts_counted, found) == (20, {kept_free(zone.failover_hosts, 20)})


@pytest.mark.parametrize(
    ("capacity_", "overcommit", "k", "n", "limit"),
    [
        (16, "4", 0, 0, 64), (16, "4", 0, 7, 64), (16, "4", 1, 0, 0), (16, "4", 1, 1, 0), (16, "4", 3, 2, 0),
        (16, "4", 1, 3, 42), (10, "1.1", 1, 11, 10), (9, "1.5", 1, 3, 9), (2**40, "100", 1, 3, 2**41 * 100 // 3),
    ],
)  # fmt: skip
def test_the_one_formula_divides_whole_numbers(capacity_, overcommit, k, n, limit):
    with as_system(), connection.cursor() as cursor:
        cursor.execute("select host_limit(%s, %s::numeric, %s, %s)", [capacity_, overcommit, k, n])
        assert cursor.fetchone() == (limit,)


# --- what it is good for -------------------------------------------------------------------------------------------


def filled(place_, sizes, *, seed):
    """Claim VMs of these sizes until each of them is refused, as a tenant does; answers how many."""
    tenant = factories.tenant("acme", {**factories.PLENTY, "vcpu": None, "memory_mib": None, "vms": None})
    project = factories.project(tenant, "web", {"vcpu": None, "memory_mib": None, "storage_gib": 50_000, "vms": None})
    pool = room.pool(place_, tenant)
    chance, open_sizes, claimed = random.Random(seed), list(sizes), 0
    while open_sizes:
        vcpu, memory_mib = size = chance.choice(open_sizes)
        wanted = [room.ask(place_, pool, vcpu=vcpu, memory_mib=memory_mib)]
        try:
            room.claim(project, pool, wanted)
            claimed += 1
        except Problem as refused:
            if refused.code != "no_room":
                raise
            open_sizes.remove(size)
    return claimed


def spent(zone):
    """The zone with its headroom spent: every host at what it could really carry, and what each of them runs."""
    zone.refresh_from_db()
    overcommit = float(zone.cpu_overcommit), float(zone.memory_overcommit)
    with as_system():
        rows = [
            Row(host.id, zone.id, int(host.cpu_cores * overcommit[0]), host.vcpu_claimed,
                int(host.memory_mib * overcommit[1]), host.memory_claimed_mib)
            for host in Host.objects.filter(zone=zone).order_by("id")
        ]  # fmt: skip
        runs = list(Allocation.objects.filter(zone=zone, released=None))
    return Fleet.of(rows, [], [Area(zone.id)]), runs


def restarted(fleet, runs, lost):
    """Where the VMs of a lost host restart, one by one by the scheduler; their disks stay where they are."""
    asks = [
        Ask(key=uuid7(), vcpu=one.vcpu, memory_mib=one.memory_mib, disk_gib=None, zones=(one.zone_id,))
        for one in runs
        if one.host_id == lost
    ]
    return asks, place(asks, fleet.without_hosts([lost]), policy=Policy.SPREAD, seed=1)


@pytest.mark.parametrize("hosts", [2, 4, 5])
def test_what_a_lost_host_ran_restarts_within_the_headroom(hosts):
    """Each host runs at most (N-1)/N of itself, so 1/N is free on each of the N-1 others: enough in sum, always.

    A sum alone restarts no VM. It does here by the shapes: each divides the next, and the largest divides the N-th part
    that a host keeps free, of vCPUs and of memory in the same ratio. So largest first, whatever room is left anywhere
    is a whole number of the VMs to come. For other shapes see the test below: percentages prove sums.
    """
    part = 12  # vCPUs that each host keeps free
    place_ = room.land(hosts, vcpu=part * hosts, memory_mib=part * hosts * room.GIB, cpu_overcommit=1, failover_hosts=1)
    with as_system():
        capacity.refresh_hosts(place_.zone)
    sizes = [(1, room.GIB), (3, 3 * room.GIB), (6, 6 * room.GIB), (12, 12 * room.GIB)]
    assert filled(place_, sizes, seed=hosts) > hosts
    fleet, runs = spent(place_.zone)
    of_each = Counter(one.host_id for one in runs)
    for row in fleet.hosts:
        asks, plan = restarted(fleet, runs, row.id)
        assert len(asks) == of_each[row.id] > 0
        assert isinstance(plan, Plan), plan
        taken = Counter()
        for one in plan.placements:
            taken[one.host_id] += next(ask.vcpu for ask in asks if ask.key == one.key)
        others = {other.id: other for other in fleet.hosts if other.id != row.id}
        assert all(others[id].vcpu_claimed + vcpu <= others[id].vcpu_limit for id, vcpu in taken.items())


def test_without_headroom_a_full_zone_restarts_nothing():
    """The test above would be no proof if a zone that keeps nothing free passed it too."""
    place_ = room.land(4, vcpu=48, memory_mib=48 * room.GIB, cpu_overcommit=1)
    filled(place_, [(12, 12 * room.GIB)], seed=1)
    fleet, runs = spent(place_.zone)
    assert not any(isinstance(restarted(fleet, runs, row.id)[1], Plan) for row in fleet.hosts)


def test_headroom_proves_sums_so_a_shape_larger_than_a_hosts_part_may_find_no_host():
    """Three hosts of 12 vCPUs keep 4 free each: 8 in sum where one is lost, and no host for one VM of 8."""
    place_ = room.land(3, vcpu=12, memory_mib=12 * room.GIB, cpu_overcommit=1, failover_hosts=1)
    with as_system():
        capacity.refresh_hosts(place_.zone)
    assert filled(place_, [(8, 8 * room.GIB)], seed=1) == 3
    fleet, runs = spent(place_.zone)
    asks, plan = restarted(fleet, runs, fleet.hosts[0].id)
    others = fleet.hosts[1:]
    assert sum(row.vcpu_limit - row.vcpu_claimed for row in others) == asks[0].vcpu == 8
    assert not isinstance(plan, Plan)


def test_the_ledger_takes_nothing_of_the_headroom():
    place_ = room.land(4, vcpu=16, memory_mib=1000 * room.GIB, cpu_overcommit=1, failover_hosts=1)
    with as_system():
        capacity.refresh_hosts(place_.zone)
    filled(place_, [(1, room.GIB)], seed=1)
    with as_system():
        assert {host.vcpu_claimed for host in Host.objects.all()} == {12}
    assert ledger.look(full=True).vcpu_limit.tolist() == [12] * 4
    room.check_books()
