"""Scratch."""

import threading, time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.db import connection, connections, transaction

from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict, Problem
from scheduler import ledger, usage, whatif
from scheduler.models import Allocation, ResourcePool
from scheduler.services import Limits
from infra import capacity
from infra.models import Zone, Host
from tenants import quota, isolation
from tenants.models import Quota
from tests import factories, room
from tests.factories import as_system
from .test_ledger import at_once

GIB = 1024


@pytest.mark.parametrize(
    "query",
    [
        "from=0001-01-01T00:00:00%2B14:00&to=2026-01-01T00:00:00Z",
        "from=0001-01-01T00:00:00Z",
        "to=9999-12-31T23:59:59-01:00",
        "to=9999-12-31T23:59:59-14:00",
        "to=2026-11-01T00:00:00Z",
        "from=2026-10-25T02:30:00%2B02:00&to=2026-10-25T02:30:00%2B01:00",
        "from=2026-01-01&to=2026-01-02",
        "from=&to=",
        "from=2026-03-01T00:00:00&to=2026-03-02T00:00:00",
        "from=2026-03-01T00:00:00.5Z",
        "from=2026-03-01T00:00:00Z&from=2026-03-02T00:00:00Z&to=2026-03-03T00:00:00Z",
        "to=0001-01-01T00:00:00Z",
        "to=0001-01-01T00:00:00%2B14:00",
        "from=2026-03-01T00:00:00%2B23:59&to=2026-03-02T00:00:00Z",
        "from=1e400",
        "to=2026-02-30T00:00:00Z",
    ],
)
def test_usage_edges(acme, query):
    answer = acme.tenant_admin.get(f"tenants/{acme.tenant.id}/usage?{query}")
    print(query, answer.status, str(answer.body)[:260])
    assert answer.status < 500


def test_headroom_add_hosts(acme):
    place = room.land(hosts=2, vcpu=8, memory_mib=64 * GIB, failover_hosts=1, cpu_overcommit=1)
    with as_system():
        z = Zone.objects.select_for_update().get(pk=place.zone.pk)
        capacity.refresh_hosts(z)
    z = Zone.objects.get(pk=place.zone.pk)
    with as_system():
        told = whatif.suppose(z, kind="add_hosts", count=2, like="host-1")
    told = told.answer()
    print(told["before"], told["after"])
    with as_system():
        for n in (3, 4):
            Host.objects.create(
                site=z.site,
                zone=z,
                ref=f"host-{n}",
                name=f"host-{n}",
                compute_ref="c",
                cpu_cores=8,
                core_mhz=2000,
                memory_mib=64 * GIB,
                datastore_refs=["ds-1"],
            )
    with as_system():
        z = Zone.objects.select_for_update().get(pk=place.zone.pk)
        capacity.refresh_hosts(z)
    with as_system():
        told2 = whatif.suppose(z, kind="add_hosts", count=2, like="host-1")
    now = told2.answer()["before"]
    print(now)
    assert now == told["after"]


def test_raise_handed_down(acme):
    place = room.land(hosts=4, vcpu=1000)
    tenant_pool = room.pool(place, acme.tenant, limit=Limits(vcpu=10, memory_mib=30 * GIB))
    pool = room.pool(place, acme.tenant, acme.project, limit=Limits(vcpu=10, memory_mib=30 * GIB))
    asks = [room.ask(place, pool, 3, GIB) for _ in range(5)]
    with as_system():
        lim = {r.resource: r.limit for r in Quota.objects.filter(project=acme.project, zone_id=None)}
        print(
            lim,
            {
                r.resource: (r.limit, r.handed_down)
                for r in Quota.objects.filter(project=None, tenant=acme.tenant, zone_id=None)
            },
        )
        quota.set_limits(
            tenant=acme.tenant, project=None, limits={"vms": lim["vms"]}, zone_id=None, replace=False, by=SYSTEM
        )
        quota.set_limits(
            tenant=acme.tenant, project=acme.project, limits={"vms": 3}, zone_id=None, replace=False, by=SYSTEM
        )
        other = factories.services.create_project(
            tenant=acme.tenant, name="other", description="", limits={"vms": lim["vms"] - 3}, by=SYSTEM
        )
    with pytest.raises(Conflict) as refusal:
        room.claim(acme.project, pool, asks)
    print(refusal.value.more["nearest"])
    change = next(x for x in refusal.value.more["nearest"] if x["kind"] == "limits")["change"]
    with as_system():
        for one in sorted(change["raise"], key=lambda one: one["scope"] == "project"):
            if "pool" in one:
                continue
            quota.set_limits(
                tenant=acme.tenant,
                project=acme.project if one["scope"] == "project" else None,
                limits={one["resource"]: one["to"]},
                zone_id=one["zone"],
                replace=False,
                by=SYSTEM,
            )


def test_quota_race(acme):
    """First claim in a zone against the zone's first limits."""
    fails = []
    for n in range(25):
        place = room.land(hosts=1, name=f"az{n}", vcpu=100)
        pool = room.pool(place, acme.tenant)

        def work(number):
            try:
                if number == 0:
                    with as_system():
                        quota.set_limits(
                            tenant=acme.tenant,
                            project=acme.project,
                            zone_id=place.zone.id,
                            replace=False,
                            by=SYSTEM,
                            limits={"vcpu": 1, "memory_mib": 100 * GIB, "storage_gib": 1000, "vms": 10},
                        )
                else:
                    room.claim(acme.project, pool, [room.ask(place, pool, 2)])
            except Problem as e:
                return e.code if hasattr(e, "code") else repr(e)
            except Exception as e:
                return repr(e)[:300]
            return "ok"

        answers = at_once(work, 3)
        fails.append(tuple(answers))
        with as_system():
            rows = [
                (r.project_id is not None, r.limit, r.used)
                for r in Quota.objects.filter(zone_id=place.zone.id, resource="vcpu")
            ]
            bad = [r for r in rows if r[1] is not None and r[2] > r[1]]
            assert not bad, rows
    from collections import Counter

    for k, v in Counter(fails).items():
        print(v, k)
    room.check_books()
