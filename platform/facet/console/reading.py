"""What the pages show, read in the caller's database context: every query is scoped as the REST API scopes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from facet.clusters.models import Cluster, ClusterPhase, Node, NodePhase
from facet.operations.models import OPEN_PHASES, Operation, Phase
from facet.rest.access import Access
from facet.workloads.models import VM, VM_KIND, Network, VmPhase, Volume
from infra.models import HostKind, HostState, Site, Zone
from tenants import quota
from tenants.models import Project, Quota, Resource, Tenant

FEW = 25  # rows of a table on a page that is no list
PAGE = 50
MOVING = (ClusterPhase.PENDING, ClusterPhase.BUILDING, ClusterPhase.UPDATING, ClusterPhase.DELETING, VmPhase.CLONING)
TITLES = {
    Resource.VCPU: "vCPU",
    Resource.MEMORY_MIB: "Memory",
    Resource.STORAGE_GIB: "Storage",
    Resource.VMS: "VMs",
    Resource.VOLUMES: "Volumes",
    Resource.NETWORKS: "Networks",
    Resource.CLUSTERS: "Clusters",
}


@dataclass(frozen=True)
class Some:
    """The first rows of a list, and how many there are in all."""

    rows: list[Any]
    total: int

    @classmethod
    def of(cls, queryset: QuerySet[Any], most: int = FEW) -> Some:
        rows = list(queryset[: most + 1])
        return cls(rows[:most], len(rows) if len(rows) <= most else queryset.count())

    @property
    def more(self) -> int:
        return self.total - len(self.rows)


def sites() -> Some:
    real = Q(hosts__kind=HostKind.HOST)
    up = Q(hosts__state=HostState.UP) & real
    present = ~Q(hosts__state=HostState.GONE) & real
    living = Q(zones__deleted_at=None)
    return Some.of(
        Site.objects.filter(deleted_at=None)
        .annotate(
            hosts_up=Count("hosts", up, distinct=True),
            hosts_known=Count("hosts", present, distinct=True),
            zones_known=Count("zones", living, distinct=True),
        )
        .order_by("name")
    )


def zones(site: Site | None = None) -> Some:
    """With what is claimed of their hosts' limits."""
    found = Zone.objects.filter(deleted_at=None).select_related("site")
    if site is not None:
        found = found.filter(site=site)
    counted = found.annotate(
        hosts_known=F("hosts_counted"),
        vcpu_claimed=Coalesce(Sum("hosts__vcpu_claimed"), 0),
        vcpu_limit=Coalesce(Sum("hosts__vcpu_limit"), 0),
        memory_claimed_mib=Coalesce(Sum("hosts__memory_claimed_mib"), 0),
        memory_limit_mib=Coalesce(Sum("hosts__memory_limit_mib"), 0),
        overdrawn=Coalesce(Sum(F("hosts__vcpu_overdrawn") + F("hosts__memory_overdrawn_mib")), 0),
    )
    return Some.of(counted.order_by("site__name", "name"))


def zone_names(ids: Iterable[UUID]) -> Mapping[UUID, str]:
    return dict(Zone.objects.filter(pk__in=ids).values_list("id", "name"))


def tenants(access: Access) -> Some:
    living = Q(projects__deleted_at=None)
    found = access.scope(Tenant.objects.filter(deleted_at=None)).annotate(
        projects_known=Count("projects", living, distinct=True),
        clusters_known=_number_of(Cluster.objects.filter(tenant=OuterRef("pk"), deleted_at=None), "tenant"),
    )
    return Some.of(found.order_by("name"))


def projects(access: Access, tenant: Tenant | None = None) -> Some:
    found = access.scope(Project.objects.filter(deleted_at=None)).select_related("tenant")
    if tenant is not None:
        found = found.filter(tenant=tenant)
    living = Q(clusters__deleted_at=None)
    counted = found.annotate(clusters_known=Count("clusters", living))
    return Some.of(counted.order_by("tenant__name", "name"))


def clusters(access: Access, project: Project | None = None) -> Some:
    found = access.scope(Cluster.objects.filter(deleted_at=None)).select_related("tenant", "project")
    if project is not None:
        found = found.filter(project=project)
    counted = found.annotate(
        nodes_known=Count("nodes", ~Q(nodes__phase=NodePhase.GONE)),
        nodes_ready=Count("nodes", Q(nodes__ready=True) & ~Q(nodes__phase=NodePhase.GONE)),
    )
    return Some.of(counted.defer("secrets_sealed", "token_sealed").order_by("-created_at", "-id"))


def nodes(cluster: Cluster) -> list[Node]:
    found = cluster.nodes.exclude(phase=NodePhase.GONE).select_related("vm", "pool", "vm__zone")
    return list(found.order_by("role", "name"))


def machines(access: Access, project: Project) -> Some:
    """VMs that a team asked for itself, those first that differ at their site from what was asked for."""
    found = access.scope(VM.objects.filter(project=project, owner_kind=VM_KIND, deleted_at=None))
    shown = found.select_related("zone__site").defer("zone__site__password_sealed", "user_data_sealed")
    return Some.of(shown.order_by(F("drift").asc(nulls_last=True), "name"))


def networks(access: Access, project: Project) -> Some:
    found = access.scope(Network.objects.filter(project=project, deleted_at=None))
    return Some.of(found.select_related("zone").order_by("name"))


def volumes(access: Access, project: Project) -> Some:
    found = access.scope(Volume.objects.filter(project=project, deleted_at=None))
    return Some.of(found.select_related("zone", "wanted_by").order_by("name"))


def limits(tenant: Tenant, project: Project | None = None) -> list[dict[str, Any]]:
    """Quota rows over all zones that say something: a limit, or something held."""
    rows = quota.show(Quota.objects.filter(tenant=tenant, project=project, zone_id=None), {})
    told = [row for row in rows if row["limit"] != 0 or row["used"] or row["handed_down"]]
    return [row | {"title": TITLES[Resource(row["resource"])]} for row in told]


def operations(access: Access) -> QuerySet[Operation]:
    """All that the caller may see, newest first."""
    found: QuerySet[Operation] = access.scope(Operation.objects.all())
    return found.order_by("-created_at", "-id")


def moving_or_failed(access: Access) -> Some:
    """What is under way, and what failed last."""
    found = operations(access)
    under_way = Some.of(found.filter(phase__in=OPEN_PHASES), 10)
    failed = list(found.filter(phase=Phase.FAILED)[:5])
    return Some([*under_way.rows, *failed], under_way.total + len(failed))


def about(access: Access, target_id: UUID) -> list[Operation]:
    return list(operations(access).filter(target_id=target_id)[:10])


def _number_of(queryset: QuerySet[Any], owner: str) -> Any:
    counted = queryset.order_by().values(owner).annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
