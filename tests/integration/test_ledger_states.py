"""Any order of the ledger's verbs, against books kept in plain Python: every answer and every sum is theirs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, InUse, Invalid
from infra.apart import Unmanaged
from infra.drivers.base import HostFacts, HostState
from infra.models import Datastore, Host
from infra.room import write_hosts
from scheduler import services
from scheduler.core.ask import Placement, Plan
from scheduler.guarantees import Amounts
from scheduler.ledger import Size, Stale
from scheduler.models import Allocation, Hold, ResourcePool
from scheduler.services import Limits
from tenants import quota
from tenants.models import Quota
from tests import factories, room
from tests.conftest import emptied
from tests.factories import as_system
from tests.integration.books import NOTHING, WITHOUT_END, Books, Held, Part, Place, Two
from tests.room import GIB

STORE_GIB, HOST_VCPU = 240, 12
HOSTS = ("host-1", "host-2", "host-3")
PROJECTS = ("acme/web", "acme/api", "other/web")
SIZES = st.builds(Size, st.integers(1, 6), st.sampled_from([GIB, 2 * GIB, 6 * GIB]), st.sampled_from([5, 20, 60]))
PICKS = st.lists(st.integers(0, 50), min_size=1, max_size=3)


def end_of(act: Any) -> str:
    """How it ended, by the code of its refusal."""
    try:
        act()
    except Stale:
        return "stale"
    except (Conflict, InUse) as refusal:
        return refusal.code
    except Invalid:
        return "invalid"
    return "granted"


class Ledger(RuleBasedStateMachine):
    """The ledger on a zone of three hosts and one datastore: two tenants, three projects, their pools and quotas."""

    def __init__(self) -> None:
        super().__init__()
        emptied()
        self.land = room.land(hosts=3, vcpu=HOST_VCPU, memory_mib=32 * GIB, storage_gib=STORE_GIB, cpu_overcommit=1)
        self.hosts = {host.name: host for host in self.land.hosts}
        self.books = Books(hosts={name: Place(Two(HOST_VCPU, 32 * GIB)) for name in HOSTS}, store_gib=STORE_GIB)
        self.tenants = {name: factories.tenant(name, factories.PLENTY | {"vcpu": 60}) for name in ("acme", "other")}
        self.projects = {
            name: factories.project(self.tenants[name.split("/")[0]], name.split("/")[1], _half({"vcpu": 30}))
            for name in PROJECTS
        }
        self.books.quotas = {"acme": 60, "other": 60} | dict.fromkeys(PROJECTS, 30)
        self.pools: dict[str, ResourcePool] = {}
        self.keys: dict[str, UUID] = {}
        self._made("acme", None, reserved=Amounts(6, 8 * GIB), limit=Limits(30, 64 * GIB), model="flex")
        self._made("other", None, limit=Limits(), model="on-demand")

    def teardown(self) -> None:
        connections.close_all()

    # --- claims ----------------------------------------------------------------------------------------------------

    @rule(project=st.sampled_from(PROJECTS), host=st.sampled_from(HOSTS), sizes=st.lists(SIZES, min_size=1, max_size=3))
    def claim(self, project: str, host: str, sizes: list[Size]) -> None:
        self._claim(project, host, {str(uuid7()): size for size in sizes})

    @precondition(lambda self: self.books.held)
    @rule(pick=st.integers(0, 50), host=st.sampled_from(HOSTS), size=SIZES)
    def claim_again(self, pick: int, host: str, size: Size) -> None:
        """Whoever has room gets no other."""
        holder = self._holders([pick])[0]
        self._claim(self.books.held[holder].project, host, {holder: size})

    def _claim(self, project: str, host: str, asked: dict[str, Size]) -> None:
        expected = self.books.of_claim(project, host, asked)
        name = self.books.pool_of(project)
        assert name is not None
        asks = [
            room.ask(self.land, self.pools[name], size.vcpu, size.memory_mib, size.storage_gib, key=UUID(holder))
            for holder, size in asked.items()
        ]
        at = (self.land.zone.id, self.hosts[host].id, self.land.datastore.id)
        plan = Plan(tuple(Placement(ask.key, *at, {}) for ask in asks))
        ended = end_of(lambda: room.claim(self.projects[project], self.pools[name], asks, plan))
        assert ended == expected
        if ended == "granted":
            eaten = self._eaten(asked)
            for holder, size in asked.items():
                self.books.held[holder] = Held(project, name, host, size, eaten[holder])
                self._eat(name, host, eaten[holder])

    @precondition(lambda self: self.books.held)
    @rule(picks=PICKS, size=SIZES, other=SIZES)
    def resize(self, picks: list[int], size: Size, other: Size) -> None:
        holders = self._holders(picks)
        project = self.books.held[holders[0]].project
        sizes = {holder: (size, other)[at % 2] for at, holder in enumerate(holders)}
        expected = self.books.of_resize(project, sizes)
        wanted = {UUID(holder): size for holder, size in sizes.items()}
        ended = end_of(lambda: room.resize(self.projects[project], wanted))
        assert ended == expected
        if ended != "granted":
            return
        changed = [holder for holder in holders if self.books.held[holder].size != sizes[holder]]
        eaten = self._eaten(changed)
        for holder in changed:
            one = self.books.held[holder]
            self._eat(one.pool, one.host, NOTHING.minus(one.eaten))
            self._eat(one.pool, one.host, eaten[holder])
            one.size, one.eaten = sizes[holder], eaten[holder]

    @precondition(lambda self: self.books.held)
    @rule(picks=PICKS)
    def release(self, picks: list[int]) -> None:
        """Those of one project; said twice."""
        holders = self._holders(picks)
        project = self.books.held[holders[0]].project
        mine = [holder for holder in holders if self.books.held[holder].project == project]
        keys = [UUID(holder) for holder in holders]
        assert room.release(self.projects[project], keys) == len(mine)
        assert room.release(self.projects[project], keys) == 0
        for holder in mine:
            one = self.books.held.pop(holder)
            self._eat(one.pool, one.host, NOTHING.minus(one.eaten))

    def _holders(self, picks: list[int]) -> list[str]:
        known = list(self.books.held)
        return list(dict.fromkeys(known[pick % len(known)] for pick in picks))

    def _eaten(self, holders: Any) -> dict[str, Two]:
        """What these eat of guarantees, as their rows say: which of several eats first is not for the books to know."""
        with as_system():
            rows = Allocation.objects.filter(holder__in=[UUID(holder) for holder in holders], released=None)
            return {str(row.holder): Two(row.vcpu_from_hold, row.memory_from_hold_mib) for row in rows}

    def _eat(self, pool: str, host: str, more: Two) -> None:
        self.books.holds[pool, host] = self.books.holds.get((pool, host), NOTHING).minus(more)

    # --- pools -----------------------------------------------------------------------------------------------------

    @rule(project=st.sampled_from(PROJECTS), vcpu=st.integers(1, 12), reserved=st.integers(0, 6))
    def make_pool(self, project: str, vcpu: int, reserved: int) -> None:
        if project in self.pools:
            return
        kept = Amounts(reserved, reserved * GIB)
        ended = end_of(
            lambda: self._made(
                project.split("/")[0],
                project,
                reserved=kept,
                limit=Limits(max(vcpu, reserved), 12 * GIB),
                model="flex" if reserved else "on-demand",
            )
        )
        above = self.books.pools[project.split("/")[0]]
        beyond = self.books.handed_down(project.split("/")[0]).plus(Two(max(vcpu, reserved), 12 * GIB))
        if ended == "granted":
            assert not beyond.over(above.limit) or project in self.pools
        else:
            assert ended in ("pool_exceeded", "guarantee_in_use", "no_room"), ended
            assert ended != "pool_exceeded" or beyond.over(above.limit)

    def _made(self, tenant: str, project: str | None, *, limit: Limits, model: str, **more: Any) -> None:
        owner = None if project is None else self.projects[project]
        made = room.pool(self.land, self.tenants[tenant], owner, model=model, limit=limit, **more)
        name = project or tenant
        self.pools[name] = made
        self.books.pools[name] = Part(tenant, project, NOTHING, above=tenant if project else None)
        for one in self.books.path(name):
            self._read_pool(one)

    @rule(pick=st.integers(0, 50), vcpu=st.integers(1, 40), reserved=st.integers(0, 14))
    def change_pool(self, pick: int, vcpu: int, reserved: int) -> None:
        """Never below what is used or handed down; a refused change leaves all as it was."""
        name = sorted(self.pools)[pick % len(self.pools)]
        limit = Limits(max(vcpu, reserved), max(vcpu, reserved) * 3 * GIB)
        kept = Amounts(reserved, reserved * GIB)
        floor = [max(pair) for pair in zip(self.books.used(name), self.books.handed_down(name), strict=True)]
        ended = end_of(lambda: self._changed(name, limit, kept))
        fits = not Two(*floor).over(Two(max(vcpu, reserved), max(vcpu, reserved) * 3 * GIB))
        assert fits or ended != "granted"
        assert ended in ("granted", "below_use", "no_room", "guarantee_in_use", "pool_exceeded", "invalid"), ended
        if ended == "below_use":
            assert not fits or self._kept_below(name) > reserved or self._kept_below(name, memory=True) > reserved * GIB

    def _kept_below(self, name: str, *, memory: bool = False) -> int:
        return sum(part.reserved[int(memory)] for part in self.books.pools.values() if part.above == name)

    def _changed(self, name: str, limit: Limits, kept: Amounts) -> None:
        changes = {"model": "flex" if kept.vcpu else "on-demand", "limit": limit, "reserved": kept}
        with as_system():
            wanted = services.changed(self.pools[name], changes)
        moves = services.decide(wanted)
        with as_system():
            services.update_pool(wanted=wanted, moves=moves, by=SYSTEM)
        for one in self.books.path(name):
            self._read_pool(one)

    @rule(project=st.sampled_from(PROJECTS))
    def delete_pool(self, project: str) -> None:
        if project not in self.pools:
            return
        ended = end_of(lambda: self._deleted(project))
        assert ended == ("in_use" if self.books.used(project) != NOTHING else "granted")

    def _deleted(self, name: str) -> None:
        with as_system():
            services.delete_pool(pool=ResourcePool.objects.get(pk=self.pools[name].pk), by=SYSTEM)
            ResourcePool.objects.filter(pk=self.pools[name].pk).update(deleted_at=timezone.now())
        above = self.books.pools[name].above
        del self.pools[name], self.books.pools[name]
        for key in [key for key in self.books.holds if key[0] == name]:
            assert self.books.holds.pop(key) is not None
        if above is not None:
            self._read_pool(above)

    def _read_pool(self, name: str) -> None:
        """Where a guarantee lies is for the scheduler to say; how much of it there is, is not."""
        with as_system():
            row = ResourcePool.objects.get(pk=self.pools[name].pk)
            kept = Hold.objects.filter(pool_id=row.id).select_related("host")
            rows = {hold.host.name: Two(hold.vcpu, hold.memory_mib) for hold in kept}
        part = self.books.pools[name]
        part.limit = Two(*(WITHOUT_END if n is None else n for n in (row.vcpu_limit, row.memory_limit_mib)))
        part.reserved = Two(row.vcpu_reserved, row.memory_reserved_mib)
        for host in HOSTS:
            self.books.holds[name, host] = rows.get(host, NOTHING)

    # --- quotas and hosts ------------------------------------------------------------------------------------------

    @rule(owner=st.sampled_from([*PROJECTS, "acme", "other"]), limit=st.integers(0, 70))
    def set_quota(self, owner: str, limit: int) -> None:
        """Never below what is used or handed down, never above what the tenant has left."""
        tenant = owner.split("/")[0]
        project = self.projects.get(owner)
        given = sum(self.books.quotas[name] for name in PROJECTS if name.startswith(f"{tenant}/"))
        if limit == self.books.quotas[owner]:
            expected = "granted"
        elif limit < self.books.spent(owner) or (project is None and limit < given):
            expected = "below_use"
        elif project is not None and given - self.books.quotas[owner] + limit > self.books.quotas[tenant]:
            expected = "quota_exceeded"
        else:
            expected = "granted"
        ended = end_of(lambda: self._set_quota(self.tenants[tenant], project, limit))
        assert ended == expected
        if ended == "granted":
            self.books.quotas[owner] = limit

    @staticmethod
    def _set_quota(tenant: Any, project: Any, limit: int) -> None:
        with as_system():
            quota.set_limits(
                tenant=tenant, project=project, limits={"vcpu": limit}, zone_id=None, replace=False, by=SYSTEM
            )

    @rule(host=st.sampled_from(HOSTS), closed=st.booleans())
    def cordon(self, host: str, closed: bool) -> None:
        with as_system():
            Host.objects.filter(name=host).update(cordoned=closed, changed=CurrentXid())
        self.books.hosts[host].open = not closed

    @rule(host=st.sampled_from(HOSTS), cores=st.integers(4, HOST_VCPU), others=st.integers(0, 3))
    def shrink(self, host: str, cores: int, others: int) -> None:
        """The site shows it with other figures, and somebody else's VMs on it."""
        row = self.hosts[host]
        fact = HostFacts(
            row.ref, row.name, row.compute_ref, row.vsphere_cluster, cores, row.core_mhz, cores * 3 * GIB,
            HostState.UP, datastore_refs=("ds-1",),
        )  # fmt: skip
        taken = Unmanaged({row.ref: others}, {row.ref: others * GIB}, {})
        write_hosts(self.land.zone.site, [fact], taken, as_system, timezone.now())
        place = self.books.hosts[host]
        place.limit, place.others = Two(cores, cores * 3 * GIB), Two(others, others * GIB)

    # --- the books -------------------------------------------------------------------------------------------------

    @invariant()
    def everyone_has_what_the_books_say(self) -> None:
        room.check_books()
        with as_system():
            hosts = {row.name: row for row in Host.objects.all()}
            pools = {row.id: row for row in ResourcePool.objects.filter(deleted_at=None)}
            spent = dict(
                Quota.objects.filter(project=None, zone_id=None, resource="vcpu").values_list("tenant_id", "used")
            )
            stored = Datastore.objects.get().claimed_gib
        for name, row in hosts.items():
            assert (row.vcpu_claimed, row.memory_claimed_mib) == self.books.claimed(name), name
            assert (row.vcpu_overdrawn, row.memory_overdrawn_mib) == self.books.short(name), name
        assert {one.id for one in self.pools.values()} == set(pools)
        for name, pool in self.pools.items():
            assert (pools[pool.id].vcpu_used, pools[pool.id].memory_used_mib) == self.books.used(name), name
            assert (pools[pool.id].vcpu_reserved, pools[pool.id].memory_reserved_mib) == self.books.pools[name].reserved
        assert spent == {self.tenants[name].id: self.books.spent(name) for name in self.tenants}
        assert stored == self.books.stored()


def _half(limits: dict[str, int]) -> dict[str, int]:
    return {name: amount // 2 for name, amount in factories.PLENTY.items()} | limits


@pytest.mark.slow
def test_the_books_hold_in_any_order_of_verbs():
    """The same examples each time. What fails is shown as it was found: making it smaller takes minutes."""
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=8, stateful_step_count=25, derandomize=True, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
