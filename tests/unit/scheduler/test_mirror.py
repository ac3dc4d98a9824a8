"""What a pool looks like at its site: parts that add up, and projects' parts that always fit in their tenant's."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from infra.models import Host, Zone
from scheduler import mirror
from scheduler.models import ResourcePool

ZONE = Zone(name="az1", cpu_overcommit=Decimal("4.00"), memory_overcommit=Decimal("1.00"))


def host(compute: str, cores: int = 8, mhz: int = 2000, memory_mib: int = 1024) -> Host:
    return Host(compute_ref=compute, cpu_cores=cores, core_mhz=mhz, memory_mib=memory_mib)


def pool(vcpu: int = 0, memory: int = 0, *, below: bool = False, **more: object) -> ResourcePool:
    parent = UUID(int=1) if below else None
    return ResourcePool(zone=ZONE, name="az1", parent_id=parent, vcpu_reserved=vcpu, memory_reserved_mib=memory, **more)


def parts(made: ResourcePool, hosts: list[Host]) -> dict[str, tuple[int, int]]:
    spec = mirror.spec(made, hosts, {host.compute_ref: "parent" for host in hosts}, smallest_vm_mib=1024)
    assert spec is not None
    return {part.compute_ref: (part.cpu_reserved_mhz, part.memory_reserved_mib) for part in spec.parts}


def test_a_vcpu_is_worth_the_slowest_core_by_the_overcommit() -> None:
    assert mirror.vcpu_mhz(ZONE, [host("a", mhz=2600), host("a", mhz=2001)]) == 500
    assert mirror.vcpu_mhz(Zone(cpu_overcommit=Decimal("1.5")), [host("a", mhz=2000)]) == 1333
    assert mirror.vcpu_mhz(ZONE, []) == 1
    assert mirror.vcpu_mhz(ZONE, [host("a", mhz=1)]) == 1


def test_guarantees_are_split_by_capacity_and_limits_are_not() -> None:
    hosts = [host("a"), host("a"), host("a", memory_mib=3072), host("b", memory_mib=1024)]
    made = pool(8, 600, vcpu_limit=10, memory_limit_mib=2048)
    assert parts(made, hosts) == {"a": (3000, 500), "b": (1000, 100)}
    spec = mirror.spec(made, hosts, {"a": "p", "b": "p"}, smallest_vm_mib=1024)
    assert spec is not None
    assert {(part.cpu_limit_mhz, part.memory_limit_mib) for part in spec.parts} == {(5000, 2151 + 2 * 128)}
    assert not spec.expandable


def test_nothing_is_said_before_every_part_has_a_parent() -> None:
    hosts = [host("a"), host("b")]
    assert mirror.spec(pool(), hosts, {"a": "p"}, smallest_vm_mib=1024) is None
    assert mirror.spec(pool(), [], {"a": "p"}, smallest_vm_mib=1024) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 64), st.integers(1, 4000), st.integers(1, 10**6)), min_size=1
    ),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 10**6)), max_size=4),
    st.integers(0, 100),
)
def test_projects_parts_fit_in_their_tenants(
    machines: list[tuple[str, int, int, int]], given_: list[tuple[int, int]], spare: int
) -> None:
    """A tenant's pool does not expand: were its part smaller than the sum of its projects', the site would refuse."""
    hosts = [host(*machine) for machine in machines]
    above = parts(pool(sum(v for v, _ in given_) + spare, sum(m for _, m in given_) + spare), hosts)
    below = [parts(pool(vcpu, memory, below=True), hosts) for vcpu, memory in given_]
    for compute, (mhz, memory) in above.items():
        assert sum(one[compute][0] for one in below) <= mhz
        assert sum(one[compute][1] for one in below) <= memory
