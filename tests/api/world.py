"""A carved site and tenants on it that have one object of every kind. Nothing answers at the site's address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connections
from django.utils import timezone

from facet.clusters.models import Cluster, NodePool
from facet.operations.models import Operation
from facet.rest.ids import uuid7
from facet.workloads.models import VM, Address, Drain, DrainPhase, Firewall, Network, Nic, ObjectPhase, Snapshot, Volume
from infra import endpoints, vlans
from infra.models import (
    Addon,
    Flavor,
    Host,
    Image,
    ImageReplica,
    PhysicalNetwork,
    ReplicaPhase,
    Site,
    StorageClass,
    Zone,
)
from scheduler.models import Allocation, Move, MovePhase, ResourcePool
from tenants import credentials
from tenants.models import Group, Member, Project, Role, ServiceAccount, Tenant, Token, User
from tests import factories, ground, nets, sites
from tests.client import Answer, Api
from tests.factories import as_system

RANGE = "127.9.0.10-127.9.0.90"
PART = {"zone": "az1", "model": "on-demand", "limit": {"vcpu": 32, "memory_mib": 65536}}
POOL = PART | {"limit": {"vcpu": 100, "memory_mib": 262144}}
MACHINE = {"zones": ["az1"]}
CLUSTER = {"zones": ["az1"], "node_pools": [{"name": "workers", "size": 1}]}
PROJECT_LIMITS = {
    "vcpu": 100, "memory_mib": 400_000, "storage_gib": 10_000, "vms": 100, "clusters": 10, "volumes": 10,
    "networks": 10,
}  # fmt: skip
Ids = dict[str, list[UUID]]  # kind, as paths call it -> ids
MOVING = ("tenants_token", "tenants_loginfailure", "django_session")  # tables that asking alone writes to


@dataclass(frozen=True)
class Belongings:
    """What a project has, and (`whole`) its tenant as such; with its people. `name`: what all names begin with."""

    name: str
    tenant: Tenant
    project: Project
    people: dict[str, User | ServiceAccount]  # admin, editor, viewer, ci
    ids: Ids
    whole: Ids

    def everything(self) -> set[str]:
        """Every id, as answers would show it."""
        return {str(id) for of in (self.ids, self.whole) for ids in of.values() for id in ids}


def platform() -> tuple[Api, Ids]:
    """IT, a site with two zones and one host in none, what clusters are made of, a group: the client and the ids."""
    root = factories.user("root")
    with as_system():
        Member.objects.create(user=root, role=Role.PLATFORM_ADMIN)
    it = Api(factories.token_of(root))
    racks = {1: 1, 2: 1, 3: 1, 4: 2, 5: 3}
    hosts = [sites.host(number, rack=rack, cpu_cores=64, memory_mib=262144) for number, rack in racks.items()]
    site = sites.registered(found=sites.world(hosts))
    zone = sites.carved(site)
    second = sites.carved(site, "az2", rack=2)
    with as_system():
        Zone.objects.filter(pk=zone.pk).update(endpoint_range=RANGE)
        endpoints.change_range(zone, RANGE)
        vlans.change_range(zone, "100-199")
        vlans.change_range(second, "200-299")
    image = {"name": "kube", "site": "dc1", "template": "kube-v1.34", "version": "v1.34.2"}
    addon = {"name": "facet-cni", "kind": "cni", "version": "v1", "manifest": ground.CNI.read_text()}
    made(it.post("images", image))
    made(it.post(f"zones/{zone.id}/storage-classes", {"name": "fast", "datastores": ["ssd-1"]}))
    made(it.post("addons", addon))
    factories.group("staff", root)
    with as_system():
        ImageReplica.objects.create(image=Image.objects.get(), zone=zone, phase=ReplicaPhase.FAILED)
        Drain.objects.create(zone=zone, phase=DrainPhase.CANCELLED, ended_at=timezone.now())
    kinds = {
        "sites": Site, "zones": Zone, "hosts": Host, "drains": Drain, "storage-classes": StorageClass,
        "site-networks": PhysicalNetwork,
        "flavors": Flavor, "images": Image, "image-replicas": ImageReplica, "addons": Addon,
        "groups": Group, "users": User,
    }  # fmt: skip
    with as_system():
        return it, {kind: [model.objects.values_list("id", flat=True)[0]] for kind, model in kinds.items()}


def made(answer: Answer) -> Any:
    """The body of a success."""
    assert 200 <= answer.status < 300, answer
    return answer.body


def client(who: User | ServiceAccount) -> Api:
    """Their client, with a token of its own."""
    with as_system():
        owner = {"user": who} if isinstance(who, User) else {"service_account": who}
        return Api(credentials.issue(**owner)[1])


def belongings(it: Api, name: str) -> Belongings:
    """A tenant with one object of every kind; all their names begin with its own."""
    tenant = factories.tenant(name)
    made(it.post(f"tenants/{tenant.id}/pools", POOL | {"name": f"{name}-pool"}))
    return in_project(it, tenant, name)


def in_project(it: Api, tenant: Tenant, name: str) -> Belongings:
    """A project of the tenant with one object of every kind; all their names begin with `name`."""
    project = factories.project(tenant, f"{name}-web", PROJECT_LIMITS)
    place = f"projects/{project.id}"
    roles = {"admin": Role.TENANT_ADMIN, "editor": Role.PROJECT_EDITOR, "viewer": Role.PROJECT_VIEWER}
    people: dict[str, Any] = {short: factories.user(f"{name}-{short}") for short in roles}
    with as_system():
        for short, role in roles.items():
            where = None if role == Role.TENANT_ADMIN else project
            Member.objects.create(tenant=tenant, project=where, user=people[short], role=role)
    admin, editor = client(people["admin"]), client(people["editor"])
    made(admin.post(f"{place}/pools", PART | {"name": f"{name}-part"}))
    account = made(admin.post(f"{place}/service-accounts", {"name": f"{name}-ci", "role": "project-editor"}))
    made(admin.post(f"service-accounts/{account['id']}/tokens", {"name": f"{name}-token"}))
    made(editor.post(f"{place}/clusters", CLUSTER | {"name": f"{name}-shop"}))
    made(editor.post(f"{place}/vms", MACHINE | {"name": f"{name}-db"}))
    volume = made(editor.post(f"{place}/volumes", {"name": f"{name}-data", "zone": "az1", "size_gib": 5}))["volume"]
    with as_system():
        _moved_before(project)
        lan = nets.row(project, Zone.objects.get(name="az1"), f"{name}-lan")
        owner = {"tenant": tenant, "project": project, "phase": ObjectPhase.READY}
        Volume.objects.filter(pk=volume["id"]).update(phase=ObjectPhase.READY)
        Snapshot.objects.create(volume_id=volume["id"], name=f"{name}-moment", **owner)
        Address.objects.create(tenant=tenant, project=project, network=lan, address="10.7.0.9", name=f"{name}-vip")
        of = VM.objects.get(project=project, name=f"{name}-db")
        Firewall.objects.get_or_create(project=project, defaults={"tenant": tenant})
        Nic.objects.create(tenant=tenant, project=project, vm=of, order=0, physical=PhysicalNetwork.objects.first())
        Snapshot.objects.create(
            tenant=tenant, project=project, vm=of, name=f"{name}-before", phase=ObjectPhase.READY
        )  # fmt: skip
        people["ci"] = ServiceAccount.objects.get(pk=account["id"])
    return Belongings(name, tenant, project, people, *_ids_of(tenant, project))


def _moved_before(project: Project) -> None:
    """A move that has ended, of one of the project's VMs."""
    there = Allocation.objects.filter(project=project)[0]
    Move.objects.create(
        tenant_id=there.tenant_id, project=project, drain_id=uuid7(), holder=there.holder, source=there,
        zone_id=there.zone_id, pool_id=there.pool_id, host_id=there.host_id, datastore_id=there.datastore_id,
        vcpu=there.vcpu, memory_mib=there.memory_mib, phase=MovePhase.UNDONE, ended_at=timezone.now(),
    )  # fmt: skip


def _ids_of(tenant: Tenant, project: Project) -> tuple[Ids, Ids]:
    """What the project has, and what its tenant has as a whole."""
    kinds: dict[str, Any] = {
        "clusters": Cluster, "vms": VM, "node-pools": NodePool, "allocations": Allocation, "pools": ResourcePool,
        "operations": Operation, "networks": Network, "addresses": Address, "snapshots": Snapshot, "members": Member,
        "volumes": Volume, "service-accounts": ServiceAccount,
    }  # fmt: skip
    both: tuple[Ids, Ids] = ({"projects": [project.id]}, {"tenants": [tenant.id]})
    with as_system():
        for ids, project_id in zip(both, (project.id, None), strict=True):
            for kind, model in kinds.items():
                found = model.objects.filter(tenant_id=tenant.id, project_id=project_id).values_list("id", flat=True)
                if found:
                    ids[kind] = list(found)
        of_volumes = Snapshot.objects.filter(project=project, vm=None).values_list("id", flat=True)
        both[0]["volume-snapshots"] = list(of_volumes)
        both[0]["snapshots"] = [id for id in both[0]["snapshots"] if id not in both[0]["volume-snapshots"]]
        tokens = Token.objects.filter(service_account__project=project)
        both[0]["tokens"] = list(tokens.values_list("id", flat=True))
    return both


def fingerprints(tenant: Tenant | None = None, but: Sequence[str] = MOVING) -> dict[str, str | None]:
    """Each table's contents in short; of one tenant's tables only what is its own."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            """select t.table_name, bool_or(c.column_name = 'tenant_id') from information_schema.tables t
               join information_schema.columns c using (table_schema, table_name)
               where t.table_schema = 'public' and t.table_name <> all(%s) group by 1 order by 1""",
            [list(but)],
        )
        tables = {name: owned and tenant is not None for name, owned in cursor.fetchall()}
        of_each = " union all ".join(
            f"""select '{name}', md5(string_agg(line, '|' order by line)) from (
                    select (to_jsonb(r) - 'last_used_at')::text as line from "{name}" r
                    {"where tenant_id = %(tenant)s" if owned else ""}) of_{name}"""
            for name, owned in tables.items()
        )
        cursor.execute(of_each, {"tenant": tenant and tenant.id})
        return dict(cursor.fetchall())


def changed(before: dict[str, str | None], after: dict[str, str | None]) -> list[str]:
    """The tables that are not as they were."""
    return [name for name in before if before[name] != after[name]]
