"""The pages. Each reads what it shows by reading.py and says whether something of it is under way (`busy`)."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q

from facet.clusters.models import Cluster
from facet.operations.models import OPEN_PHASES, Operation, Phase
from infra.models import Datastore, Host, HostState, Site
from tenants.models import Project, Tenant

from . import reading
from .page import Page

HOSTS = 200


class Home(Page):
    """IT sees sites, zones and tenants; teams their projects; both their clusters and what is under way."""

    template = "console/home.html"

    def show(self) -> dict[str, Any]:
        it = self.access.may("site.read")
        found: dict[str, Any] = {
            "it": it,
            "tenants": reading.tenants(self.access) if self.access.may("tenant-quota.read") else None,
            "projects": reading.projects(self.access),
            "clusters": reading.clusters(self.access),
            "operations": reading.moving_or_failed(self.access),
        }
        if it:
            found |= {"sites": reading.sites(), "zones": reading.zones()}
        return found | {"busy": any(one.phase in OPEN_PHASES for one in found["operations"].rows)}


class SitePage(Page):
    """One vCenter or simulator as it was last seen: for those who may read sites."""

    template = "console/site.html"

    def show(self, pk: UUID) -> dict[str, Any]:
        self.require("site.read")
        site = self.visible(Site.objects.filter(deleted_at=None), pk, "site.read")
        hosts = Host.objects.filter(site=site).exclude(state=HostState.GONE).select_related("zone", "bin__zone")
        return {
            "site": site,
            "zones": reading.zones(site),
            "hosts": reading.Some.of(hosts.order_by("vsphere_cluster", "name"), HOSTS),
            "datastores": reading.Some.of(Datastore.objects.filter(site=site, present=True).order_by("name"), HOSTS),
            "operations": reading.about(self.access, site.id),
            "busy": site.phase in ("pending", "deleting"),
        }


class TenantPage(Page):
    template = "console/tenant.html"

    def show(self, pk: UUID) -> dict[str, Any]:
        tenant = self.visible(Tenant.objects.filter(deleted_at=None), pk, "tenant.read")
        may_read_quota = self.access.may("tenant-quota.read", tenant_id=tenant.id)
        return {
            "tenant": tenant,
            "limits": reading.limits(tenant) if may_read_quota else None,
            "projects": reading.projects(self.access, tenant),
        }


class ProjectPage(Page):
    template = "console/project.html"

    def show(self, pk: UUID) -> dict[str, Any]:
        living = Project.objects.filter(deleted_at=None).select_related("tenant")
        project = self.visible(living, pk, "project.read")
        place = {"tenant_id": project.tenant_id, "project_id": project.id}
        clusters, machines = reading.clusters(self.access, project), reading.machines(self.access, project)
        return {
            "project": project,
            "limits": reading.limits(project.tenant, project) if self.access.may("project-quota.read", **place) else [],
            "clusters": clusters,
            "machines": machines,
            "networks": reading.networks(self.access, project),
            "volumes": reading.volumes(self.access, project),
            "may_create": self.access.may("cluster.write", **place),
            "busy": any(one.phase in reading.MOVING for one in [*clusters.rows, *machines.rows]),
        }


class ClusterPage(Page):
    template = "console/cluster.html"

    def show(self, pk: UUID) -> dict[str, Any]:
        living = Cluster.objects.filter(deleted_at=None).defer("secrets_sealed", "token_sealed")
        cluster = self.visible(living.select_related("tenant", "project"), pk, "cluster.read")
        names = reading.zone_names(cluster.zone_ids)
        nodes = reading.nodes(cluster)
        return {
            "cluster": cluster,
            "zones": [names.get(zone_id, str(zone_id)) for zone_id in cluster.zone_ids],
            "nodes": nodes,
            "ready": sum(node.ready for node in nodes),
            "operations": reading.about(self.access, cluster.id),
            "may_connect": self.access.may(
                "cluster.kubeconfig", tenant_id=cluster.tenant_id, project_id=cluster.project_id
            ),
            "server": self.request.build_absolute_uri("/").rstrip("/"),
            "busy": cluster.phase in reading.MOVING,
        }


class Operations(Page):
    """All operations, newest first, a page at a time: `?show=open|failed&before=<operation>`."""

    template = "console/operations.html"
    FILTERS: ClassVar[dict[str, Any]] = {"": {}, "open": {"phase__in": OPEN_PHASES}, "failed": {"phase": Phase.FAILED}}

    def show(self) -> dict[str, Any]:
        self.require("operation.read")
        asked = self.request.GET.get("show", "")
        chosen = asked if asked in self.FILTERS else ""
        found = reading.operations(self.access).filter(**self.FILTERS[chosen])
        last = self._last_shown()
        if last is not None:
            found = found.filter(Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, id__lt=last.id))
        rows = list(found[: reading.PAGE + 1])
        shown = rows[: reading.PAGE]
        return {
            "operations": shown,
            "chosen": chosen,
            "older": shown[-1].id if len(rows) > len(shown) else None,
            "busy": any(one.phase in OPEN_PHASES for one in shown),
        }

    def _last_shown(self) -> Operation | None:
        """The operation that the page before ended with, if it is one that the caller may see."""
        try:
            before = UUID(self.request.GET.get("before", ""))
        except ValueError:
            return None
        return reading.operations(self.access).filter(pk=before).first()


class OperationPage(Page):
    template = "console/operation.html"

    def show(self, pk: UUID) -> dict[str, Any]:
        operation = self.visible(Operation.objects.all(), pk, "operation.read")
        return {"operation": operation, "busy": operation.phase in OPEN_PHASES}
