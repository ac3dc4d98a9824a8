"""Clusters: what a team asks for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..client import Document
from ..faults import NotFound, Usage
from ..options import Name, NameOrId, Output, Project, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, Row, age
from ..session import Session
from .vm import Avoid, Labels, Policy, Prefer, Require, labels

app = noun("Clusters: Kubernetes for a project.")


def _nodes(row: Row) -> str:
    groups = [row.get("control_planes") or {}, *(row.get("node_pools") or [])]
    wanted = sum(int(group.get("count") or group.get("size") or 0) for group in groups)
    return f"{sum(int(group.get('ready') or 0) for group in groups)}/{wanted}"


def _groups(row: Row) -> str:
    planes = row.get("control_planes") or {}
    parts = [f"control-plane {planes.get('ready') or 0}/{planes.get('count') or 0}"]
    parts += [
        f"{pool.get('name')} {pool.get('ready') or 0}/{pool.get('size') or 0}" for pool in row.get("node_pools") or []
    ]
    return ", ".join(parts)


COLUMNS = [
    Column("name", "name"),
    Column("phase", "phase", state=True),
    Column("version", "version"),
    Column("nodes", _nodes, right=True),
    Column("zones", "zones"),
    Column("endpoint", "endpoint"),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("simulated", "simulated"),
    Column("reason", "reason"),
]
NODES = [
    Column("name", "name"),
    Column("role", "role"),
    Column("phase", "phase", state=True),
    Column("ready", "ready", state=True),
    Column("address", "address"),
    Column("host", "host"),
    Column("reason", "reason"),
]

Zones = Annotated[
    list[str], typer.Option("--zone", metavar="NAME", help="Where; may be said again.", show_default=False)
]
Planes = Annotated[int, typer.Option("--control-planes", min=1, help="An odd number.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Nodes of the pool `workers`.")]
Version = Annotated[
    str, typer.Option("--version", help="As in v1.34.2; the newest offered by default.", show_default=False)
]
Framework = Annotated[str, typer.Option("--framework", help="What kind of cluster.", show_default=False)]
FlavorOption = Annotated[str, typer.Option("--flavor", help="The workers' flavor.", show_default=False)]
PlaneFlavor = Annotated[
    str, typer.Option("--control-plane-flavor", help="The control planes' flavor.", show_default=False)
]
AntiAffinity = Annotated[
    str,
    typer.Option(
        "--anti-affinity", metavar="required|preferred|none",
        help="Whether two workers may share a host; preferred, by default: if no other host fits.", show_default=False,
    ),
]  # fmt: skip
Affinity = Annotated[
    str,
    typer.Option(
        "--affinity", metavar="host|zone:required|preferred", help="Keep the workers together.", show_default=False
    ),
]
DisksOf = Annotated[
    str, typer.Option("--storage-class", metavar="NAME", help="Where the workers' disks lie.", show_default=False)
]
PlaneRequire = Annotated[
    list[str] | None,
    typer.Option(
        "--control-plane-require", metavar="KEY=VALUE", help="Control planes on hosts with this label alone.",
        show_default=False,
    ),
]  # fmt: skip
PlaneAntiAffinity = Annotated[
    str,
    typer.Option(
        "--control-plane-anti-affinity", metavar="required|preferred|none",
        help="Whether two control planes may share a host; required by default: never.", show_default=False,
    ),
]  # fmt: skip
PlaneDisks = Annotated[
    str,
    typer.Option(
        "--control-plane-storage-class", metavar="NAME", help="Where the control planes' disks lie.",
        show_default=False,
    ),
]  # fmt: skip
PodCidr = Annotated[str, typer.Option("--pod-cidr", help="Addresses of pods.", show_default=False)]
ServiceCidr = Annotated[str, typer.Option("--service-cidr", help="Addresses of services.", show_default=False)]


def wanted(
    *, name: str, zones: list[str], control_planes: int, workers: int, version: str = "", framework: str = "",
    flavor: str = "", control_plane_flavor: str = "", pod_cidr: str = "", service_cidr: str = "",
    placement: dict[str, Any] | None = None, control_plane_placement: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The body that asks for a cluster; what is not said is not sent, so that the server's defaults hold."""
    planes: dict[str, Any] = {"count": control_planes}
    pool: dict[str, Any] = {"name": "workers", "size": workers}
    if control_plane_flavor:
        planes["flavor"] = control_plane_flavor
    if flavor:
        pool["flavor"] = flavor
    if placement:
        pool["placement"] = placement
    if control_plane_placement:
        planes["placement"] = control_plane_placement
    body: dict[str, Any] = {"name": name, "zones": zones, "control_planes": planes, "node_pools": [pool]}
    if version:
        body["version"] = version
    if framework:
        body["framework"] = framework
    network = {key: value for key, value in (("pod_cidr", pod_cidr), ("service_cidr", service_cidr)) if value}
    if network:
        body["network"] = network
    return body


def rules(
    *, policy: str = "", anti_affinity: str = "", affinity: str = "", require: Labels = None, prefer: Labels = None,
    avoid: Labels = None, storage_class: str = "", of: str = "",
) -> dict[str, Any]:  # fmt: skip
    """The rules of a role that were said. `of`: what its options begin with. Raises Usage."""
    said: dict[str, Any] = {"policy": policy, "anti_affinity": anti_affinity, "storage_class": storage_class}
    for name, texts in (("require", require), ("prefer", prefer), ("avoid", avoid)):
        said[name] = labels(texts or (), option=f"--{of}{name}")
    if affinity:
        level, _, mode = affinity.partition(":")
        if not level or not mode:
            raise Usage(f"--{of}affinity: {affinity!r} is not of the form host:required or zone:preferred.")
        said["affinity"] = {"level": level, "mode": mode}
    return {name: value for name, value in said.items() if value}


def find(session: Session, name: str, project: str) -> Document:
    """The cluster of this name in the project, or of this id."""
    return session.in_project("cluster", "clusters", name, project)


@app.command(
    epilog=examples(
        "facet cluster create shop --project acme/web --zone az1 --control-planes 1 --workers 3 --wait",
        "facet cluster create shop --project acme/web --zone az1 --version v1.34.2 --wait --timeout 20m",
        "facet cluster create shop --project acme/web --zone az1 --zone az2 --zone az3 --control-planes 3 --workers 6"
        " --policy pack --require rack=r1 --avoid gpu=true --storage-class fast --anti-affinity required",
    )
)
def create(
    ctx: typer.Context,
    name: Name,
    zone: Zones,
    project: Project = "",
    control_planes: Planes = 1,
    workers: Workers = 1,
    version: Version = "",
    framework: Framework = "",
    flavor: FlavorOption = "",
    control_plane_flavor: PlaneFlavor = "",
    pod_cidr: PodCidr = "",
    service_cidr: ServiceCidr = "",
    policy: Policy = "",
    anti_affinity: AntiAffinity = "",
    affinity: Affinity = "",
    require: Require = None,
    prefer: Prefer = None,
    avoid: Avoid = None,
    storage_class: DisksOf = "",
    control_plane_anti_affinity: PlaneAntiAffinity = "",
    control_plane_require: PlaneRequire = None,
    control_plane_storage_class: PlaneDisks = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Ask for a cluster. What does not fit is refused at once, with the reasons.

    Rules for hosts and storage are the workers', where they do not name the control planes.
    """
    session = Session(ctx, output)
    body = wanted(
        name=name, zones=zone, control_planes=control_planes, workers=workers, version=version, framework=framework,
        flavor=flavor, control_plane_flavor=control_plane_flavor, pod_cidr=pod_cidr, service_cidr=service_cidr,
        placement=rules(
            policy=policy, anti_affinity=anti_affinity, affinity=affinity, require=require, prefer=prefer, avoid=avoid,
            storage_class=storage_class,
        ),
        control_plane_placement=rules(
            anti_affinity=control_plane_anti_affinity, require=control_plane_require,
            storage_class=control_plane_storage_class, of="control-plane-",
        ),
    )  # fmt: skip
    answer = session.api.post(f"projects/{session.project(project)['id']}/clusters", body)
    session.finish(answer, "cluster", waiting=wait, timeout=timeout, path="clusters", columns=COLUMNS)


@app.command("list", epilog=examples("facet cluster list --project acme/web"))
def list_(ctx: typer.Context, project: Project = "", output: Output = Format.TABLE) -> None:
    """A project's clusters."""
    session = Session(ctx, output)
    owner = session.project(project)
    session.printer.rows(session.api.items(f"projects/{owner['id']}/clusters"), COLUMNS, nothing="No clusters yet.")


@app.command(epilog=examples("facet cluster show shop --project acme/web"))
def show(ctx: typer.Context, name: NameOrId, project: Project = "", output: Output = Format.TABLE) -> None:
    """One cluster."""
    session = Session(ctx, output)
    columns = [Column("node pools", _groups) if column.title == "nodes" else column for column in COLUMNS]
    session.printer.one(find(session, name, project), [*columns, Column("id", "id")])


@app.command(epilog=examples("facet cluster nodes shop --project acme/web"))
def nodes(ctx: typer.Context, name: NameOrId, project: Project = "", output: Output = Format.TABLE) -> None:
    """A cluster's nodes, as they were last seen."""
    session = Session(ctx, output)
    cluster = find(session, name, project)
    session.printer.rows(session.api.items(f"clusters/{cluster['id']}/nodes"), NODES, nothing="No nodes yet.")


@app.command(epilog=examples("facet cluster scale shop --project acme/web --workers 5 --wait"))
def scale(
    ctx: typer.Context,
    name: NameOrId,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="How many nodes the pool shall have.", show_default=False)
    ],
    project: Project = "",
    pool: Annotated[str, typer.Option("--pool", help="The node pool.")] = "workers",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Change how many workers a cluster has. Nodes that go are drained first."""
    session = Session(ctx, output)
    cluster = find(session, name, project)
    pools = {found["name"]: found["id"] for found in cluster.get("node_pools") or []}
    if pool not in pools:
        raise NotFound(f"{cluster['name']} has no node pool {pool}.", hint=f"Node pools: {', '.join(pools) or 'none'}.")
    answer = session.api.patch(f"node-pools/{pools[pool]}", {"size": workers})
    answer.setdefault("cluster", cluster)
    session.finish(answer, "cluster", waiting=wait, timeout=timeout, path="clusters", columns=COLUMNS)


@app.command(epilog=examples("facet cluster delete shop --project acme/web --yes --wait"))
def delete(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Delete a cluster and all its machines."""
    session = Session(ctx, output)
    cluster = find(session, name, project)
    session.delete(
        "cluster", "clusters", cluster, beside=" and all its machines", yes=yes, waiting=wait, timeout=timeout
    )
