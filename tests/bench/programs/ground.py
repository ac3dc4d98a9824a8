"""What our side stands on, written in bulk: `python -m tests.bench.programs.ground people|hosts N|hot ROOM|books`.

Runs with the environment of a stack. The site is one that nothing answers at: no worker runs, nobody asks it. Hosts
are 64 cores in racks of 25 that share a datastore, as vSphere clusters do, a third of them in each of three zones.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")
django.setup()

from django.db import connection  # noqa: E402  Django must be set up before its models are there

from infra import endpoints  # noqa: E402
from infra.models import Datastore, Host, Image, PhysicalNetwork, Site, SitePhase, Template, Zone, ZonePhase  # noqa: E402
from tenants import credentials  # noqa: E402
from tenants.models import Member, Role, ServiceAccount  # noqa: E402
from tests import factories, room  # noqa: E402
from tests.factories import as_system  # noqa: E402

CORES, CPU_OVERCOMMIT, MEMORY_MIB, DATASTORE_GIB = 64, 4, 1 << 20, 2_500_000
RACK, BATCH = 25, 1000
ZONES = ("az1", "az2", "az3")
HOT = "hot"
ENDPOINTS = "127.9.{}.10-127.9.{}.250"


def people() -> dict[str, str]:
    """A site with three zones and one for the hot row, a tenant with plenty, its project, and who asks: a token."""
    with as_system():
        site = Site.objects.create(
            name="dc1", driver="simulator", endpoint="http://127.0.0.1:1", username="facet", password_sealed=b"",
            phase=SitePhase.ACTIVE,
        )  # fmt: skip
        template = Template.objects.create(
            site=site, ref="t-1", name="kube", path="/kube", vcpu=1, memory_mib=1024, disk_gib=10
        )
        Image.objects.create(site=site, template=template, name="kube", framework="kubernetes", version="v1.34.2")
        for number, name in enumerate((*ZONES, HOT)):
            zone = Zone.objects.create(
                site=site, name=name, selector={"label": f"zone={name}"}, phase=ZonePhase.ACTIVE,
                endpoint_range=ENDPOINTS.format(number, number),
            )  # fmt: skip
            endpoints.change_range(zone, zone.endpoint_range)
            network = PhysicalNetwork.objects.create(site=site, ref=f"net-{name}", name=f"net-{name}")
            network.zones.add(zone)
    tenant = factories.tenant("acme", dict.fromkeys(factories.PLENTY, 10**10))
    project = factories.project(tenant, "web", dict.fromkeys(factories.PLENTY, 10**9))
    with as_system():
        account = ServiceAccount.objects.create(tenant=tenant, project=project, name="ci")
        Member.objects.create(service_account=account, role=Role.PROJECT_EDITOR, tenant=tenant, project=project)
        token = credentials.issue(service_account=account)[1]
    for name in (*ZONES, HOT):
        with as_system():
            place = room.Land(Zone.objects.get(name=name), (), None)  # type: ignore[arg-type]  # a pool asks for no disk
        room.pool(place, tenant)
    return {"token": token, "project": str(project.id)}


def hosts(wanted: int) -> dict[str, int]:
    """As many hosts in the three zones as `wanted`, with the datastores and networks that they reach."""
    with as_system():
        site = Site.objects.get(name="dc1")
        zones = list(Zone.objects.filter(name__in=ZONES).order_by("name"))
        there = Host.objects.filter(zone__in=zones).count()
        stores = {store.name for store in Datastore.objects.filter(zones__in=zones)}
        for number in range(there, wanted):
            rack = number // RACK
            if f"ds-{rack}" not in stores:
                stores.add(f"ds-{rack}")
                _datastore(site, zones[rack % len(zones)], f"ds-{rack}")
        rows = [_host(site, zones[number // RACK % len(zones)], number) for number in range(there, wanted)]
        Host.objects.bulk_create(rows, batch_size=BATCH)
    _analyze()
    return {"hosts": wanted}


def _datastore(site: Site, zone: Zone, name: str) -> None:
    size = {"capacity_gib": DATASTORE_GIB, "free_gib": DATASTORE_GIB, "limit_gib": DATASTORE_GIB}
    Datastore.objects.create(site=site, ref=name, name=name, **size).zones.add(zone)


def _host(site: Site, zone: Zone, number: int, **other: Any) -> Host:
    rack = number // RACK
    shape = {
        "cpu_cores": CORES, "core_mhz": 2600, "memory_mib": MEMORY_MIB, "vcpu_limit": CORES * CPU_OVERCOMMIT,
        "memory_limit_mib": MEMORY_MIB, "datastore_refs": [f"ds-{rack}"], "vsphere_cluster": f"rack-{rack}",
        "compute_ref": f"rack-{rack}",
    } | other  # fmt: skip
    return Host(
        site=site, zone=zone, ref=f"host-{number}", name=f"host-{number}", labels={"rack": f"r{rack}"},
        network_refs=[f"net-{zone.name}"], **shape,
    )  # fmt: skip


def hot(slots: int) -> dict[str, int]:
    """A zone with one host that has room for so many of one vCPU."""
    with as_system():
        site, zone = Site.objects.get(name="dc1"), Zone.objects.get(name=HOT)
        _datastore(site, zone, "ds-hot")
        _host(
            site, zone, 1_000_000, vcpu_limit=slots, datastore_refs=["ds-hot"], vsphere_cluster=HOT, compute_ref=HOT
        ).save(force_insert=True)
    return {"room": slots}


def _analyze() -> None:
    with as_system(), connection.cursor() as cursor:
        cursor.execute("set local role none")
        cursor.execute("analyze (skip_locked)")


def main(what: str, *numbers: str) -> None:
    acts: dict[str, Any] = {"people": people, "hosts": hosts, "hot": hot, "books": books}
    print(json.dumps(acts[what](*map(int, numbers))))


BOOKS = """
select count(*) from (
    select h.id from infra_host h left join (
        select host_id, sum(vcpu) as vcpu, sum(memory_mib) as memory from scheduler_allocation where released is null
        group by 1) a on a.host_id = h.id
    where h.vcpu_claimed <> coalesce(a.vcpu, 0) or h.memory_claimed_mib <> coalesce(a.memory, 0)
       or h.vcpu_claimed > h.vcpu_limit or h.memory_claimed_mib > h.memory_limit_mib
    union all
    select d.id from infra_datastore d left join (
        select datastore_id, sum(storage_gib) as gib from scheduler_allocation where released is null group by 1) a
        on a.datastore_id = d.id
    where d.claimed_gib <> coalesce(a.gib, 0) or d.claimed_gib > d.limit_gib
    union all
    select p.id from scheduler_resourcepool p left join (
        select pool_id, sum(vcpu) as vcpu from scheduler_allocation where released is null group by 1) a
        on a.pool_id = p.id
    where p.vcpu_used <> coalesce(a.vcpu, 0)
    union all
    select q.id from tenants_quota q where q.resource = 'vms' and q.used <> (
        select count(*) from scheduler_allocation a where a.released is null and a.tenant_id = q.tenant_id
        and (q.zone_id is null or q.zone_id = a.zone_id))
) wrong
"""


def books() -> dict[str, int]:
    """How many counters are not the sum of what lives, or beyond their limit; and how many allocations stand."""
    with as_system(), connection.cursor() as cursor:
        cursor.execute(BOOKS)
        wrong = cursor.fetchone()[0]
        cursor.execute("select count(*) from scheduler_allocation where released is null")
        return {"wrong": wrong, "allocations": cursor.fetchone()[0]}


if __name__ == "__main__":
    main(*sys.argv[1:])
