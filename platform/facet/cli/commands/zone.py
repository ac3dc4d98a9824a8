"""Zones: availability zones, carved by IT out of sites."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import resolve
from ..faults import Usage
from ..options import Name, NameOrId, Output, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, Row, plain
from ..session import Session
from .host import DRAIN

app = noun("Availability zones: hosts, datastores and networks of one site.")


def _selector(row: Row) -> str:
    return " ".join(f"{key}={plain(value)}" for key, value in (row.get("selector") or {}).items())


Datastores = Annotated[
    list[str] | None,
    typer.Option("--datastore", metavar="NAME", help="Used for disks; may be said again.", show_default=False),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", metavar="NAME", help="Used by VMs; may be said again.", show_default=False),
]
EndpointRange = Annotated[
    str,
    typer.Option(
        "--endpoint-range", metavar="FIRST-LAST", help="Addresses for clusters' endpoints.", show_default=False
    ),
]
VlanRange = Annotated[
    str | None,
    typer.Option(
        "--vlan-range", metavar="TAGS", help='For networks of projects, as "100-199,300".', show_default=False
    ),
]
Switch = Annotated[
    str | None,
    typer.Option("--switch", metavar="NAME", help="What they are made on; else the only one.", show_default=False),
]
CPU_OVERCOMMIT = "vCPUs on a core."
MEMORY_OVERCOMMIT = "Memory promised by memory there is."
DRIFT_POLICY = "What was changed by hand at the site: report it, or repair it too."
PLACEMENT = "Who chooses the host of a VM: facet; or drs, in a zone of one vSphere cluster."
FAILOVER_HOSTS = "Keep the room of so many hosts free for restarts."
UNMANAGED = [
    Column("name", "name"),
    Column("host", "host"),
    Column("power", "power", state=True),
    Column("vcpu", "vcpu"),
    Column("memory", "memory_mib"),
    Column("disk", "disk_gib"),
    Column("address", "address"),
    Column("ref", "ref"),
    Column("key", "key"),
]
COLUMNS = [
    Column("name", "name"),
    Column("site", "site"),
    Column("phase", "phase", state=True),
    Column("selector", _selector),
    Column("placed by", "placement"),
    Column("datastores", "datastores"),
    Column("networks", "networks"),
    Column("endpoints", "endpoint_range"),
    Column("reason", "reason"),
]


@app.command(
    epilog=examples(
        "facet zone create az1 --site dc1 --vsphere-cluster DC0_C0 --datastore LocalDS_0"
        ' --network "VM Network" --endpoint-range 10.0.8.10-10.0.8.250 --wait',
        "facet zone create az2 --site dc1 --label rack=r2 --datastore ds2 --network lan2 --wait",
    )
)
def create(
    ctx: typer.Context,
    name: Name,
    site: Annotated[str, typer.Option("--site", metavar="NAME", help="The site to carve it from.", show_default=False)],
    vsphere_cluster: Annotated[
        str,
        typer.Option(
            "--vsphere-cluster", metavar="NAME", help="All hosts of this vSphere cluster.", show_default=False
        ),
    ] = "",
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="This host; may be said again.", show_default=False),
    ] = None,
    label: Annotated[
        str, typer.Option("--label", metavar="KEY=VALUE", help="All hosts with this label.", show_default=False)
    ] = "",
    datastore: Datastores = None,
    network: Networks = None,
    endpoint_range: EndpointRange = "",
    cpu_overcommit: Annotated[
        float | None, typer.Option("--cpu-overcommit", min=0.1, help=CPU_OVERCOMMIT, show_default="4")
    ] = None,
    memory_overcommit: Annotated[
        float | None, typer.Option("--memory-overcommit", min=0.1, help=MEMORY_OVERCOMMIT, show_default="1")
    ] = None,
    failover_hosts: Annotated[
        int | None, typer.Option("--failover-hosts", min=0, help=FAILOVER_HOSTS, show_default="0")
    ] = None,
    drift_policy: Annotated[
        str | None,
        typer.Option("--drift-policy", metavar="report|repair", help=DRIFT_POLICY, show_default="report"),
    ] = None,
    placement: Annotated[
        str | None, typer.Option("--placement", metavar="facet|drs", help=PLACEMENT, show_default="facet")
    ] = None,
    vlan_range: VlanRange = None,
    switch: Switch = None,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Carve a zone by vSphere cluster, by hosts or by a label."""
    selectors: list[dict[str, Any]] = []
    if vsphere_cluster:
        selectors.append({"vsphere_cluster": vsphere_cluster})
    if host:
        selectors.append({"hosts": host})
    if label:
        selectors.append({"label": label})
    if len(selectors) != 1:
        raise Usage("Which hosts? Say one of --vsphere-cluster, --host and --label.")
    body: dict[str, Any] = {
        "name": name, "site": site, "selector": selectors[0], "datastores": datastore or [], "networks": network or [],
        "endpoint_range": endpoint_range,
    }  # fmt: skip
    body |= _said(
        cpu_overcommit=cpu_overcommit, memory_overcommit=memory_overcommit, failover_hosts=failover_hosts,
        drift_policy=drift_policy, placement=placement, vlan_range=vlan_range, switch=switch,
    )  # fmt: skip
    session = Session(ctx, output)
    session.finish(
        session.api.post("zones", body), "zone", waiting=wait, timeout=timeout, path="zones", columns=COLUMNS
    )


def _said(**values: Any) -> dict[str, Any]:
    """Those of the values that were said; the server knows what holds for the others."""
    return {name: value for name, value in values.items() if value is not None}


@app.command(
    epilog=examples(
        "facet zone update az1 --failover-hosts 1 --cpu-overcommit 3 --wait",
        "facet zone update az1 --datastore ds1 --datastore ds2",
    )
)
def update(
    ctx: typer.Context,
    name: NameOrId,
    cpu_overcommit: Annotated[
        float | None, typer.Option("--cpu-overcommit", min=0.1, help=CPU_OVERCOMMIT, show_default=False)
    ] = None,
    memory_overcommit: Annotated[
        float | None, typer.Option("--memory-overcommit", min=0.1, help=MEMORY_OVERCOMMIT, show_default=False)
    ] = None,
    failover_hosts: Annotated[
        int | None, typer.Option("--failover-hosts", min=0, help=FAILOVER_HOSTS, show_default=False)
    ] = None,
    drift_policy: Annotated[
        str | None, typer.Option("--drift-policy", metavar="report|repair", help=DRIFT_POLICY, show_default=False)
    ] = None,
    vlan_range: VlanRange = None,
    switch: Switch = None,
    datastore: Datastores = None,
    network: Networks = None,
    endpoint_range: EndpointRange = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Change a zone. Datastores and networks that are said replace those that it has."""
    body = _said(
        cpu_overcommit=cpu_overcommit, memory_overcommit=memory_overcommit, failover_hosts=failover_hosts,
        datastores=datastore or None, networks=network or None, endpoint_range=endpoint_range or None,
        drift_policy=drift_policy, vlan_range=vlan_range, switch=switch,
    )  # fmt: skip
    if not body:
        raise Usage("What shall be other than it is? Say at least one option.")
    session = Session(ctx, output)
    zone = resolve.one(session.api, "zone", name)
    answer = session.api.patch(f"zones/{zone['id']}", body)
    session.finish(answer, "zone", waiting=wait, timeout=timeout, path="zones", columns=COLUMNS)


@app.command("list", epilog=examples("facet zone list"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """The zones that you may see."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("zones"), COLUMNS, nothing="No zones yet.")


@app.command(epilog=examples("facet zone show az1"))
def show(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """One zone."""
    session = Session(ctx, output)
    more = [
        Column("cpu overcommit", "cpu_overcommit"),
        Column("memory overcommit", "memory_overcommit"),
        Column("failover hosts", "failover_hosts"),
        Column("drift policy", "drift_policy"),
        Column("vlans", "vlan_range"),
        Column("switch", "switch"),
        Column("id", "id"),
    ]
    session.printer.one(resolve.one(session.api, "zone", name), [*COLUMNS, *more])


@app.command(epilog=examples("facet zone delete az1 --yes --wait"))
def delete(
    ctx: typer.Context,
    name: NameOrId,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Give a zone's hosts back. Nothing may be in use there."""
    session = Session(ctx, output)
    zone = resolve.one(session.api, "zone", name)
    session.delete("zone", "zones", zone, yes=yes, waiting=wait, timeout=timeout)


@app.command(epilog=examples("facet zone unmanaged az1"))
def unmanaged(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """VMs on a zone's hosts that Facet neither made nor manages. Adopt one: facet vm adopt."""
    session = Session(ctx, output)
    zone = resolve.one(session.api, "zone", name)
    session.printer.rows(session.api.items(f"zones/{zone['id']}/unmanaged-vms"), UNMANAGED, nothing="None.")


@app.command(epilog=examples("facet zone drain az1 --wait"))
def drain(
    ctx: typer.Context, name: NameOrId, wait: Wait = False, timeout: Timeout = "", output: Output = Format.TABLE
) -> None:
    """Close a zone and move all of its VMs live into the other zones that each was asked for in; or name who cannot."""
    session = Session(ctx, output)
    answer = session.api.post(f"zones/{resolve.one(session.api, 'zone', name)['id']}/drain")
    session.finish(answer, "drain", waiting=wait, timeout=timeout, path="drains", columns=DRAIN)


@app.command(epilog=examples("facet zone resume az1"))
def resume(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """Let a zone that was drained take new work again."""
    session = Session(ctx, output)
    answer = session.api.post(f"zones/{resolve.one(session.api, 'zone', name)['id']}/resume")
    if session.printer.for_people:
        session.printer.done(f"zone {answer['name']} takes new work")
    else:
        session.printer.document(answer)
