"""A model of the ledger's books in plain Python: what each verb must answer, and what everybody has after it.

One zone with one datastore. Of guarantees the model knows how much a pool keeps on each host (told after each change of
a pool: where it lies is the scheduler's to say) and who eats of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.ledger import Size


class Two(NamedTuple):
    """vCPU and memory."""

    vcpu: int = 0
    memory_mib: int = 0

    def plus(self, other: Two | Size, sign: int = 1) -> Two:
        return Two(self.vcpu + sign * other.vcpu, self.memory_mib + sign * other.memory_mib)

    def minus(self, other: Two | Size) -> Two:
        return self.plus(other, -1)

    def least(self, other: Two) -> Two:
        return Two(*map(min, self, other))

    def over(self, limit: Two) -> bool:
        return any(one > most for one, most in zip(self, limit, strict=True))


NOTHING = Two()
WITHOUT_END = 1 << 60


@dataclass
class Place:
    """A host. `others`: what stands there and is nobody's here."""

    limit: Two
    others: Two = NOTHING
    open: bool = True


@dataclass
class Part:
    """A pool. `above`: the tenant's pool that it is cut from."""

    tenant: str
    project: str | None
    limit: Two
    reserved: Two = NOTHING
    above: str | None = None


@dataclass
class Held:
    """What one holder has. `eaten`: of its pool's guarantee there."""

    project: str
    pool: str
    host: str
    size: Size
    eaten: Two


@dataclass
class Books:
    hosts: dict[str, Place] = field(default_factory=dict)
    pools: dict[str, Part] = field(default_factory=dict)
    holds: dict[tuple[str, str], Two] = field(default_factory=dict)  # (pool, host)
    held: dict[str, Held] = field(default_factory=dict)
    quotas: dict[str, int] = field(default_factory=dict)  # of vcpu, by project and tenant ("acme/web", "acme")
    store_gib: int = 0

    # --- sums ------------------------------------------------------------------------------------------------------

    def claimed(self, host: str) -> Two:
        found = NOTHING
        for one in self.held.values():
            found = found.plus(one.size) if one.host == host else found
        for (_, at), kept in self.holds.items():
            found = found.plus(kept) if at == host else found
        return found

    def used(self, pool: str) -> Two:
        found = NOTHING
        for one in self.held.values():
            found = found.plus(one.size) if pool in self.path(one.pool) else found
        return found

    def handed_down(self, pool: str) -> Two:
        found = NOTHING
        for part in self.pools.values():
            found = found.plus(part.limit) if part.above == pool else found
        return found

    def spent(self, owner: str) -> int:
        return sum(one.size.vcpu for one in self.held.values() if owner in self.owners(one.project))

    def stored(self) -> int:
        return sum(one.size.storage_gib for one in self.held.values())

    def short(self, host: str) -> Two:
        """What the host is overdrawn by."""
        place = self.hosts[host]
        return Two(*(max(0, n) for n in self.claimed(host).plus(place.others).minus(place.limit)))

    def path(self, pool: str) -> list[str]:
        above = self.pools[pool].above
        return [pool] if above is None else [pool, above]

    @staticmethod
    def owners(project: str) -> list[str]:
        return [project, project.partition("/")[0]]

    def pool_of(self, project: str) -> str | None:
        """Whose pool pays: the project's own, else its tenant's."""
        tenant = self.owners(project)[1]
        for wanted in (project, None):
            for name, part in self.pools.items():
                if part.tenant == tenant and part.project == wanted:
                    return name
        return None

    # --- verdicts --------------------------------------------------------------------------------------------------

    def of_claim(self, project: str, host: str, asked: Mapping[str, Size]) -> str:
        pool = self.pool_of(project)
        assert pool is not None
        if any(holder in self.held for holder in asked):
            return "already_held"
        more, gib = _sum(asked.values())
        if self._pools_refuse([(pool, more)]):
            return "pool_exceeded"
        beyond = more.minus(more.least(self.holds.get((pool, host), NOTHING)))
        if not self.hosts[host].open or self._host_refuses(host, beyond) or self.stored() + gib > self.store_gib:
            return "stale"
        return "quota_exceeded" if self._quotas_refuse({project: more.vcpu}) else "granted"

    def of_resize(self, project: str, sizes: Mapping[str, Size]) -> str:
        if any(holder not in self.held or self.held[holder].project != project for holder in sizes):
            return "not_held"
        changing = {holder: size for holder, size in sizes.items() if self.held[holder].size != size}
        by_host: dict[str, list[str]] = {}
        for holder in changing:
            by_host.setdefault(self.held[holder].host, []).append(holder)
        gib = sum(size.storage_gib - self.held[holder].size.storage_gib for holder, size in changing.items())
        refused = gib > 0 and self.stored() + gib > self.store_gib
        for host, holders in by_host.items():
            grows = any(Two(*changing[one][:2]).over(Two(*self.held[one].size[:2])) for one in holders)
            refused |= grows and not self.hosts[host].open
            refused |= self._host_refuses(host, self.beyond(host, {one: changing[one] for one in holders}))
        if refused:
            return "no_room"
        deltas = [(self.held[one].pool, Two().plus(size).minus(self.held[one].size)) for one, size in changing.items()]
        if self._pools_refuse(deltas):
            return "pool_exceeded"
        return "quota_exceeded" if self._quotas_refuse({project: sum(more.vcpu for _, more in deltas)}) else "granted"

    def beyond(self, host: str, sizes: Mapping[str, Size]) -> Two:
        """What of the host's free room these sizes take more than now, or (negative) less: the guarantee goes first."""
        found = NOTHING
        for pool in {self.held[one].pool for one in sizes}:
            mine = [one for one in sizes if self.held[one].pool == pool]
            now, then, eaten = NOTHING, NOTHING, NOTHING
            for one in mine:
                now, then = now.plus(self.held[one].size), then.plus(sizes[one])
                eaten = eaten.plus(self.held[one].eaten)
            there = self.holds.get((pool, host), NOTHING).plus(eaten)
            found = found.plus(then.minus(then.least(there)).minus(now.minus(eaten)))
        return found

    def _host_refuses(self, host: str, more: Two) -> bool:
        place = self.hosts[host]
        after = self.claimed(host).plus(place.others).plus(more)
        return any(n > 0 and total > most for n, total, most in zip(more, after, place.limit, strict=True))

    def _pools_refuse(self, deltas: Sequence[tuple[str, Two]]) -> bool:
        total: dict[str, Two] = {}
        for pool, more in deltas:
            for one in self.path(pool):
                total[one] = total.get(one, NOTHING).plus(more)
        return any(
            n > 0 and used + n > most
            for pool, more in total.items()
            for n, used, most in zip(more, self.used(pool), self.pools[pool].limit, strict=True)
        )

    def _quotas_refuse(self, more: Mapping[str, int]) -> bool:
        return any(
            n > 0 and self.spent(owner) + n > self.quotas[owner]
            for project, n in more.items()
            for owner in self.owners(project)
        )


def _sum(sizes: Sequence[Size]) -> tuple[Two, int]:
    total, gib = NOTHING, 0
    for size in sizes:
        total, gib = total.plus(size), gib + size.storage_gib
    return total, gib
