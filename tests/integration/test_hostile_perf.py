"""Scratch: times."""

import time, resource
import pytest
from django.db import connection, connections
from scheduler import usage, whatif, capacity
from scheduler.models import Allocation
from infra.models import Zone, Host
from tenants import isolation
from tests import factories, room
from tests.factories import as_system

GIB = 1024


def lap(name, act):
    t = time.perf_counter()
    c = time.process_time()
    out = act()
    print(
        f"LAP {name}: {time.perf_counter() - t:.2f} s, python cpu {time.process_time() - c:.2f} s, rss {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB",
        flush=True,
    )
    return out


@pytest.mark.parametrize("hosts,rows", [(1000, 200_000)])
def test_times(acme, hosts, rows):
    place = room.land(hosts=1, vcpu=64)
    pool = room.pool(place, acme.tenant)
    with as_system():
        lap(
            "hosts",
            lambda: Host.objects.bulk_create(
                [
                    Host(
                        site=place.zone.site,
                        zone=place.zone,
                        ref=f"h-{n}",
                        name=f"h-{n}",
                        compute_ref=f"c-{n % 32}",
                        cpu_cores=64,
                        core_mhz=2000,
                        memory_mib=1000 * GIB,
                        vcpu_limit=256,
                        memory_limit_mib=1000 * GIB,
                        datastore_refs=["ds-1"],
                    )
                    for n in range(hosts - 1)
                ]
            ),
        )
        ids = list(Host.objects.values_list("id", flat=True))
    if True:
        with connections["owner"].cursor() as c:
            c.execute("set statement_timeout = 0")
            c.execute(
                """insert into scheduler_allocation (id, tenant_id, project_id, zone_id, pool_id, host_id, datastore_id, holder, vcpu, memory_mib, storage_gib, vcpu_from_hold, memory_from_hold_mib, ask, why, created, released)
            select gen_random_uuid(), %s, %s, %s, %s, (%s::uuid[])[1 + i %% %s], %s, gen_random_uuid(), 2, 4096, 10, 0, 0,
              jsonb_build_object('name', 'vm-' || i, 'role', 'worker', 'zones', jsonb_build_array(%s::text), 'pools', jsonb_build_array(%s::text), 'networks', '[]'::jsonb, 'vcpu', 2, 'memory_mib', 4096, 'disk_gib', 10,
                 'storage_class', null, 'group', null, 'require', '[]'::jsonb, 'prefer', '[]'::jsonb, 'avoid', '[]'::jsonb, 'policy', 'spread'),
              jsonb_build_object('host', 'x'), t, case when i %% 20 = 0 then null else t + interval '3 days' * (0.1 + (i * 7919 %% 1000) / 1000.0) end
            from (select i, now() - interval '365 days' * (i::float / %s) - interval '1 hour' as t from generate_series(1, %s) i) g""",
                [
                    acme.tenant.id,
                    acme.project.id,
                    place.zone.id,
                    pool.id,
                    ids,
                    len(ids),
                    place.datastore.id,
                    str(place.zone.id),
                    str(pool.id),
                    rows,
                    rows,
                ],
            )
    with connections["owner"].cursor() as c:
        c.execute("analyze")
    known = usage.known_until()
    from datetime import timedelta

    with isolation.context(isolation.of([acme.tenant.id])):
        lap(
            "usage year",
            lambda: usage.held(acme.tenant.id, None, usage.interval(known - timedelta(days=365), known, known)),
        )
        lap(
            "usage day",
            lambda: usage.held(acme.tenant.id, None, usage.interval(known - timedelta(days=1), known, known)),
        )
    z = Zone.objects.get(pk=place.zone.pk)
    with as_system():
        lap("capacity", lambda: capacity.of_zone(z))
    for days in (1, 30, 36, 366):

        def suppose():
            with as_system():
                return whatif.suppose(z, kind="replay", days=days)

        try:
            s = lap(f"replay {days}: read", suppose)
        except Exception as e:
            print("LAP", days, repr(e)[:200])
            continue
        a = lap(f"replay {days}: answer", s.answer)
        print("LAP", a["sentence"])
    for kind in ("drain_zone", "lose_zone"):

        def suppose():
            with as_system():
                return whatif.suppose(z, kind=kind)

        s = lap(f"{kind} read", suppose)
        lap(f"{kind} answer", s.answer)

    def suppose():
        with as_system():
            return whatif.suppose(z, kind="drain_hosts", hosts=[f"h-{n}" for n in range(500)])

    s = lap("drain_hosts 500 read", suppose)
    lap("drain_hosts 500 answer", s.answer)
