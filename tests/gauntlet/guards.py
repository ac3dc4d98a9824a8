"""Every guard of the ledger's SQL, each with the race in which its absence shows: few rows, hot ones, and wild plans.

Removing a guard takes its text out of the function as the database has it, and drops the CHECK or index that stands
behind it as the last wall. A text that is not there, or is there more than once, is an error: then the function has
changed, and this page with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from django.db import connections

from facet.embedded.postgres import Server
from scheduler.guarantees import NOTHING
from tests.gauntlet.actors import Temper
from tests.gauntlet.course import RESERVED, Size

OWN_DATABASE = "gauntlet"
WILD = Temper(wild=1.0, death=0.002, dawdle=0.5)
SLOW = Temper(wild=1.0, death=0.002, dawdle=0.9, dawdle_s=0.02)  # for what shows only where two are at it at once
CLAIMS = {"claim": 3, "release": 2}
FREE = {"host_vcpu": 10_000, "host_memory_mib": 10**8, "store_gib": 10**7, "tenant_vcpu": 10**6, "pool_vcpu": None}
NO_LIMIT = Size(zones=1, tenants=4, hosts=12, stores=12, reserved=NOTHING, **FREE)
ONE_HOST = Size(**vars(NO_LIMIT) | {"hosts": 1, "host_vcpu": 12})
ONE_OWNER = Size(**vars(NO_LIMIT) | {"tenants": 1})
HOST_CPU = ("infra_host", "host_vcpu_not_oversold")
HOST_MEMORY = ("infra_host", "host_memory_not_oversold")
STORE = ("infra_datastore", "datastore_not_oversold")
POOL = ("scheduler_resourcepool", "pool_within_its_limits")
QUOTA = ("tenants_quota", "quota_used_within_limit")
ONCE = ("scheduler_allocation", "one_live_allocation_per_holder")
NEGATIVE = (
    ("infra_host", "host_claims_not_negative"),
    ("infra_datastore", "datastore_claims_not_negative"),
    ("scheduler_resourcepool", "pool_never_negative"),
    ("scheduler_hold", "hold_never_negative"),
    ("tenants_quota", "quota_never_negative"),
)
CPU_CLAUSE = "or (a.vcpu > 0 and h.vcpu_claimed + h.vcpu_unmanaged + a.vcpu > h.vcpu_limit)"
MEMORY_CLAUSE = (
    "or (a.memory_mib > 0 and h.memory_claimed_mib + h.memory_unmanaged_mib + a.memory_mib > h.memory_limit_mib)"
)


@dataclass(frozen=True)
class Guard:
    """Texts of one function and what to put in their place; the walls behind; the race that needs it."""

    name: str
    function: str
    without: Mapping[str, str]
    walls: tuple[tuple[str, str], ...]
    size: Size
    verbs: Mapping[str, int] = field(default_factory=lambda: CLAIMS)
    temper: Temper = WILD
    times: int = 1  # that each text stands in the function

    def __str__(self) -> str:
        return self.name


GUARDS = (
    Guard("the host's vcpu", "ledger_commit", {CPU_CLAUSE: ""}, (HOST_CPU,), ONE_HOST),
    Guard(
        "the host's memory", "ledger_commit", {MEMORY_CLAUSE: ""}, (HOST_MEMORY,),
        Size(**vars(ONE_HOST) | {"host_vcpu": 10_000, "host_memory_mib": 16 * 1024}),
    ),
    Guard(
        "the datastore's space", "ledger_commit",
        {"or (a.gib > 0 and d.claimed_gib + d.unmanaged_gib + a.gib > d.limit_gib)": ""}, (STORE,),
        Size(**vars(NO_LIMIT) | {"stores": 1, "store_gib": 200}),
    ),
    Guard(
        "the pool's limit", "ledger_commit",
        {"or p.vcpu_used + a.vcpu > p.vcpu_limit or p.memory_used_mib + a.memory_mib > p.memory_limit_mib": ""},
        (POOL,), Size(**vars(ONE_OWNER) | {"pool_vcpu": 12}),
    ),
    Guard(
        "the quota's limit", "quota_take", {'or (q."limit" is not null and q.used + s.amount > q."limit")': ""},
        (QUOTA,), Size(**vars(ONE_OWNER) | {"tenant_vcpu": 24}),
    ),
    Guard(
        "a holder has room once", "ledger_commit",
        {"where a.holder in (select holder from unnest(lines)) and a.released is null;": "where false;",
         "where a.released is null and a.holder in (select c.holder from unnest(lines) c)": "where false"}, (ONCE,),
        ONE_OWNER,
    ),
    Guard(
        "the lock of hosts", "ledger_commit",
        {"perform 1 from infra_host where id in (select host from unnest(lines)) order by id for no key update;": ""},
        (HOST_CPU, HOST_MEMORY), ONE_HOST, temper=SLOW,
    ),
    Guard(
        "the lock of datastores", "ledger_commit",
        {"perform 1 from infra_datastore where id in (select datastore from unnest(lines)) order by id "
         "for no key update;": ""},
        (STORE,), Size(**vars(NO_LIMIT) | {"stores": 1, "store_gib": 200}), temper=SLOW,
    ),
    Guard(
        "the lock of pools", "ledger_commit",
        {"perform 1 from scheduler_resourcepool p where p.id in (select pool from unnest(lines)) or p.id in (select "
         "parent_id from scheduler_resourcepool where id in (select pool from unnest(lines))) order by p.project_id "
         "nulls last, p.id for no key update;": ""},
        (POOL,), Size(**vars(ONE_OWNER) | {"pool_vcpu": 12}), temper=SLOW,
    ),
    Guard(
        "the lock of quotas", "quota_take", {"order by q.project_id nulls last, q.id for no key update;": ";"},
        (QUOTA,), Size(**vars(ONE_OWNER) | {"zones": 6, "hosts": 3, "stores": 3, "tenant_vcpu": 24}), temper=SLOW,
    ),
    Guard(
        "what is eaten of a Hold", "ledger_commit",
        {"update scheduler_hold h set vcpu = h.vcpu - a.vcpu, memory_mib = h.memory_mib - a.memory_mib":
         "update scheduler_hold h set vcpu = h.vcpu"}, (),
        Size(**vars(ONE_OWNER) | {"hosts": 2, "host_vcpu": 32, "reserved": RESERVED}),
    ),
    Guard(
        "a release takes its turn", "ledger_release",
        {"perform 1 from infra_host where id = any (hosts) order by id for no key update;": "",
         "perform 1 from infra_datastore where id = any (stores) order by id for no key update;": ""}, NEGATIVE,
        Size(**vars(ONE_OWNER) | {"hosts": 2, "stores": 2}), temper=SLOW,
    ),
    Guard(
        "the host of a larger size", "ledger_resize", {CPU_CLAUSE: ""}, (HOST_CPU,), ONE_HOST,
        {"claim": 2, "resize": 3, "release": 1},
    ),
    Guard(
        "the pool of a larger size", "ledger_resize",
        {"where (a.vcpu > 0 and p.vcpu_used + a.vcpu > p.vcpu_limit) or (a.memory_mib > 0 and p.memory_used_mib + "
         "a.memory_mib > p.memory_limit_mib);": "where false;"},
        (POOL,), Size(**vars(ONE_OWNER) | {"pool_vcpu": 12}), {"claim": 2, "resize": 3, "release": 1},
    ),
    Guard(
        "a resize looks again once it has its turn", "ledger_resize",
        {"where a.id in (select g.id from unnest(gone) g) and a.released is null;":
         "where a.id in (select g.id from unnest(gone) g);",
         "where a.holder = s.holder and a.released is null and a.tenant_id = v_tenant and a.project_id = v_project and "
         "(a.id in": "where a.holder = s.holder and a.tenant_id = v_tenant and a.project_id = v_project and (a.id in"},
        (ONCE, *NEGATIVE), Size(**vars(ONE_OWNER) | {"hosts": 2, "stores": 2}),
        {"claim": 1, "resize": 5, "release": 1},
    ),
    Guard(
        "the host of a move", "ledger_move", {CPU_CLAUSE: ""}, (HOST_CPU,),
        Size(**vars(NO_LIMIT) | {"hosts": 3, "host_vcpu": 12}), {"claim": 4, "move": 3, "arrive": 2, "release": 1},
    ),
    Guard(
        "the host of a guarantee", "hold_move", {CPU_CLAUSE: ""}, (HOST_CPU,),
        Size(**vars(ONE_HOST) | {"host_vcpu": 60}), {"claim": 1, "release": 1, "pool-changed": 8}, temper=SLOW,
    ),
)  # fmt: skip


def remove(guard: Guard) -> None:
    """Take it out of this database. Raises AssertionError unless the function really is another one then."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("select pg_get_functiondef(%s::regproc)", [guard.function])
        was = now = cursor.fetchone()[0]
        for text, instead in guard.without.items():
            pattern = r"\s+".join(map(re.escape, text.split()))
            times = len(re.findall(pattern, now))
            assert times == guard.times, f"{guard.function} says {times} times: {text}"
            now = re.sub(pattern, lambda _, instead=instead: instead, now)
        cursor.execute(now)
        cursor.execute("select pg_get_functiondef(%s::regproc)", [guard.function])
        assert cursor.fetchone()[0] == now != was
        for table, wall in guard.walls:
            index = (table, wall) == ONCE
            cursor.execute(f"drop index {wall}" if index else f"alter table {table} drop constraint {wall}")


@contextmanager
def own_database(server: Server) -> Iterator[None]:
    """A copy of this process's (migrated, empty) database under all its connections; it ends with the block.

    PostgreSQL copies only what nobody is connected to: a session that a thread of an earlier test has left is ended.
    """
    settings = [connections[alias].settings_dict for alias in ("default", "owner")]
    template = settings[0]["NAME"]
    connections.close_all()
    with closing(server.connect("postgres")) as admin, admin.cursor() as cursor:
        cursor.execute(f"drop database if exists {OWN_DATABASE} with (force)")
        cursor.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [template])
        cursor.execute(f"create database {OWN_DATABASE} template {template} owner facet_owner")
        try:
            for one in settings:
                one["NAME"] = OWN_DATABASE
            yield
        finally:
            for one in settings:
                one["NAME"] = template
            connections.close_all()
            cursor.execute(f"drop database {OWN_DATABASE} with (force)")
