"""What a pool looks like at its site: one part in each compute resource (vSphere cluster or host) of its zone.

Our ledger is the exact limit; the site's pools make it felt by what runs. Guarantees are split by the capacity that the
zone has in each compute resource, the tenant's rounded up and the projects' down, so that projects' parts always fit in
their tenant's. Limits are not split: VMs of a pool may all stand in one compute resource.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from infra.drivers.base import PoolPart, PoolSpec
from infra.models import Host, Zone

from .models import ResourcePool

VM_OVERHEAD_MIB = 128  # what a hypervisor takes for itself beside each VM's memory
MEMORY_OVERHEAD = Fraction(5, 100)


def vcpu_mhz(zone: Zone, hosts: Sequence[Host]) -> int:
    """What one vCPU is worth in the zone: its slowest core, divided by the CPU overcommit; at least 1."""
    slowest = min((host.core_mhz for host in hosts), default=0)
    return max(1, floor(slowest / Fraction(zone.cpu_overcommit)))


def capacity(hosts: Iterable[Host]) -> dict[str, tuple[int, int]]:
    """(MHz, MiB) that the zone has in each compute resource."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for host in hosts:
        mhz, memory = found[host.compute_ref]
        found[host.compute_ref] = (mhz + host.cpu_cores * host.core_mhz, memory + host.memory_mib)
    return dict(found)


def memory_limit_mib(pool: ResourcePool, smallest_vm_mib: int) -> int | None:
    """The limit with what as many VMs as it can hold need beside their own memory."""
    if pool.memory_limit_mib is None:
        return None
    vms = pool.memory_limit_mib // max(1, smallest_vm_mib)
    return ceil(pool.memory_limit_mib * (1 + MEMORY_OVERHEAD)) + VM_OVERHEAD_MIB * vms


def spec(
    pool: ResourcePool, hosts: Sequence[Host], parents: Mapping[str, str], *, smallest_vm_mib: int
) -> PoolSpec | None:
    """The pool in every compute resource of its zone; None while one of them has no parent to stand below."""
    there = capacity(hosts)
    if not there or not there.keys() <= parents.keys():
        return None
    mhz = vcpu_mhz(pool.zone, hosts)
    together = sum(cpu for cpu, _ in there.values()), sum(memory for _, memory in there.values())
    rounded = ceil if pool.parent_id is None else floor
    parts = [
        PoolPart(
            compute_ref=ref,
            parent_ref=parents[ref],
            ref=pool.refs.get(ref),
            cpu_reserved_mhz=rounded(Fraction(pool.vcpu_reserved * mhz * cpu, max(1, together[0]))),
            memory_reserved_mib=rounded(Fraction(pool.memory_reserved_mib * memory, max(1, together[1]))),
            cpu_limit_mhz=None if pool.vcpu_limit is None else pool.vcpu_limit * mhz,
            memory_limit_mib=memory_limit_mib(pool, smallest_vm_mib),
        )
        for ref, (cpu, memory) in sorted(there.items())
    ]
    return PoolSpec(key=pool.id, name=pool.name, parts=tuple(parts), expandable=pool.parent_id is not None)
