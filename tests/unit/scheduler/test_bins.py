"""A bin stands for the hosts that DRS chooses among: one row of room, in which as many stay apart as it has hosts."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from scheduler.core.ask import Apart, Ask, Group, NoRoom, Plan, Policy
from scheduler.core.fleet import Fleet
from scheduler.core.layout import Bin, Host, Zone
from scheduler.core.place import place

ZONE = UUID(int=1)
GIB = 1024


def bin_of(hosts: int, *, vcpu: int = 32, memory_gib: int = 64, number: int = 10) -> Host:
    """So many hosts of one size, as one."""
    return Host(
        UUID(int=number), ZONE, hosts * vcpu, 0, hosts * memory_gib * GIB, 0, bin=Bin(hosts, vcpu, memory_gib * GIB)
    )


def asks(count: int, *, vcpu: int = 2, group: Group | None = None, first: int = 100) -> list[Ask]:
    return [
        Ask(UUID(int=first + number), vcpu, 4 * GIB, None, (ZONE,), role=f"role-{first}", group=group)
        for number in range(count)
    ]


def placed(wanted: list[Ask], *hosts: Host) -> Plan | NoRoom:
    return place(wanted, Fleet.of(hosts, (), [Zone(ZONE)]), policy=Policy.SPREAD, seed=7)


def filters(refused: Plan | NoRoom) -> list[str]:
    assert isinstance(refused, NoRoom)
    assert refused.proven
    return [reason.filter for reason in refused.reasons if reason.removed_hosts]


@pytest.mark.parametrize("standing", [0, 1, 3])
def test_as_many_stay_apart_as_there_are_hosts(standing: int) -> None:
    bin_ = bin_of(3)
    group = Group("planes", Apart.REQUIRED, members=(bin_.id,) * standing)
    left = 3 - standing
    found = placed(asks(left, group=group), bin_)
    assert isinstance(found, Plan)
    assert len(found.placements) == left
    assert filters(placed(asks(left + 1, group=group), bin_)) == ["anti_affinity"]


def test_a_bin_and_a_host_beside_it_take_a_group_together() -> None:
    beside = Host(UUID(int=11), ZONE, 8, 0, 64 * GIB, 0)
    group = Group("planes", Apart.REQUIRED)
    found = placed(asks(4, group=group), bin_of(3), beside)
    assert isinstance(found, Plan)
    assert sorted(one.host_id.int for one in found.placements) == [10, 10, 10, 11]
    assert filters(placed(asks(5, group=group), bin_of(3), beside)) == ["anti_affinity"]


def test_no_vm_is_larger_than_the_largest_host() -> None:
    bin_ = bin_of(4, vcpu=16)
    assert isinstance(placed(asks(1, vcpu=16), bin_), Plan)
    assert filters(placed(asks(1, vcpu=17), bin_)) == ["cpu"]
    small = bin_._replace(bin=Bin(4, 16, 2 * GIB))
    assert filters(placed(asks(1), small)) == ["memory"]


def test_what_it_has_together_is_the_limit() -> None:
    assert isinstance(placed(asks(32, vcpu=4), bin_of(4)), Plan)
    assert filters(placed(asks(33, vcpu=4), bin_of(4))) == ["cpu"]


def test_the_search_knows_how_many_stay_apart() -> None:
    """Two groups and a VM that fits one bin alone: only some order of choices finds room for all."""
    first, second = bin_of(2, vcpu=8), bin_of(2, vcpu=6, number=11)
    planes = asks(4, vcpu=3, group=Group("planes", Apart.REQUIRED))
    large = [replace(one, vcpu=8) for one in asks(1, first=200)]
    rest = [replace(one, vcpu=2) for one in asks(3, first=300)]
    found = placed([*planes, *large, *rest], first, second)
    assert isinstance(found, Plan)
    hosts = [one.host_id for one in found.placements]
    assert [hosts[:4].count(first.id), hosts[:4].count(second.id), hosts[4]] == [2, 2, first.id]
    assert isinstance(placed([*planes, *large, *rest, *asks(3, first=400)], first, second), NoRoom)
