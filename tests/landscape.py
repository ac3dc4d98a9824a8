"""Rows for the console to show: a simulated site with a zone, and clusters in it, as passes would have left them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from facet.clusters.models import Cluster, ClusterPhase, Node, NodePhase, NodePool, NodeRole
from facet.operations.models import Operation
from facet.workloads.models import VM, VM_KIND, VmPhase
from infra.models import Host, Image, Site, SitePhase, Template, Zone, ZonePhase
from tenants.models import Project
from tests.factories import as_system

GIB = 1024


def site(name: str = "dc1", zone: str = "az1", hosts: int = 4) -> Zone:
    """A site, its zone of some hosts, and an image to build from."""
    now = timezone.now()
    with as_system():
        made = Site.objects.create(
            name=name, driver="simulator", endpoint="http://127.0.0.1:8802", username="facet", password_sealed=b"",
            phase=SitePhase.ACTIVE, simulated=True, product="Facet datacenter simulator", last_synced_at=now,
        )  # fmt: skip
        carved = Zone.objects.create(
            site=made, name=zone, selector={"vsphere_cluster": "rack-1"}, phase=ZonePhase.ACTIVE
        )
        for number in range(1, hosts + 1):
            Host.objects.create(
                site=made, zone=carved, ref=f"host-{number}", name=f"host-{number}", compute_ref="rack-1",
                vsphere_cluster="rack-1", cpu_cores=32, core_mhz=2600, memory_mib=256 * GIB, vcpu_limit=128,
                vcpu_claimed=16 * number, memory_limit_mib=256 * GIB, memory_claimed_mib=60 * number * GIB,
            )  # fmt: skip
        template = Template.objects.create(
            site=made, ref="t-1", name="kube-v1.34", path="/kube-v1.34", vcpu=2, memory_mib=4 * GIB, disk_gib=20
        )
        Image.objects.create(site=made, template=template, name="kube-v1.34", framework="kubernetes", version="v1.34.2")
    return carved


def cluster(project: Project, zone: Zone, name: str = "shop", *, ready: bool = True, workers: int = 3) -> Cluster:
    """A cluster with one control plane and some workers."""
    now = timezone.now()
    owner: dict[str, Any] = {"tenant_id": project.tenant_id, "project": project}
    phase = ClusterPhase.READY if ready else ClusterPhase.BUILDING
    with as_system():
        made = Cluster.objects.create(
            **owner, name=name, version="v1.34.2", zone_ids=[zone.id], control_plane_flavor="small",
            pod_cidr="10.244.0.0/16", service_cidr="10.96.0.0/12", endpoint_host="127.44.1.10", secrets_sealed=b"",
            token_sealed=b"", phase=phase, simulated=True, observed_version="v1.34.2+simulated" if ready else "",
            observed_at=now if ready else None, initialized_at=now if ready else None,
        )  # fmt: skip
        pool = NodePool.objects.create(**owner, cluster=made, name="workers", size=workers, flavor="small")
        image = Image.objects.get(site=zone.site)
        for number in range(workers + 1):
            role = NodeRole.WORKER if number else NodeRole.CONTROL_PLANE
            short = f"{name}-{'w' if number else 'cp'}-{number or 1}"
            up = ready or number == 0
            vm = VM.objects.create(
                **owner, zone=zone, name=short, image=image, vcpu=2, memory_mib=4 * GIB, disk_gib=40,
                owner_kind="cluster", owner_id=made.id, phase=VmPhase.RUNNING if up else VmPhase.CLONING,
                address=f"127.44.2.{10 + number}" if up else None,
            )  # fmt: skip
            Node.objects.create(
                **owner, cluster=made, pool=pool if number else None, vm=vm, role=role, name=short, ready=up,
                phase=NodePhase.READY if up else NodePhase.PROVISIONING, observed_at=now if up else None,
            )  # fmt: skip
    return made


def machine(project: Project, zone: Zone, name: str, **more: Any) -> VM:
    """A VM that runs and that a team asked for itself."""
    shape = {"vcpu": 2, "memory_mib": 4 * GIB, "disk_gib": 40, "power": "on", "seen_at": timezone.now()} | more
    with as_system():
        made = VM.objects.create(
            tenant_id=project.tenant_id, project=project, zone=zone, name=name, owner_kind=VM_KIND,
            phase=VmPhase.RUNNING, **shape,
        )  # fmt: skip
        VM.objects.filter(pk=made.pk).update(owner_id=made.id)
    return made


def operation(of: Cluster, phase: str = "succeeded", **more: Any) -> Operation:
    """What asked for a cluster: done in four steps, or on its way or failed in the second."""
    ended = phase not in ("pending", "running")
    reached = {"succeeded": "done", "failed": "failed"}.get(phase, "running")
    steps = [
        ("network", "Network", "done", 1, 1),
        ("machines", "Machines at the site", reached, 4 if reached == "done" else 2, 4),
        (
            "control-plane",
            "The control plane answers",
            "done" if reached == "done" else "waiting",
            reached == "done",
            1,
        ),
        ("nodes", "Nodes are ready", "done" if reached == "done" else "waiting", 4 * (reached == "done"), 4),
    ]
    now = timezone.now()
    with as_system():
        return Operation.objects.create(
            tenant_id=of.tenant_id, project_id=of.project_id, verb="cluster.create", target_kind="cluster",
            target_id=of.id, target_name=of.name, phase=phase, actor={"kind": "user", "id": None, "name": "ada"},
            steps=[
                {"name": key, "title": title, "phase": at, "done": int(done), "total": total, "started_at": None,
                 "ended_at": None}
                for key, title, at, done, total in steps
            ],
            started_at=now, ended_at=now + timedelta(seconds=14) if ended else None, **more,
        )  # fmt: skip
