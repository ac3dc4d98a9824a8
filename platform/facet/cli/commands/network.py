"""Networks: a project's own, and whom a network of a site is lent to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import resolve
from ..faults import NotFound, Usage
from ..options import Name, NameOrId, Output, Project, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, Row, age
from ..session import Session

app = noun("Networks: a project's own, and those of a site that are lent.")


def _firewall(row: Row) -> str:
    found = row.get("firewall") or {}
    return f"{found.get('applied_generation')} of {found.get('wanted')}"


COLUMNS = [
    Column("name", "name"),
    Column("phase", "phase", state=True),
    Column("zone", "zone"),
    Column("vlan", "vlan"),
    Column("subnet", "cidr"),
    Column("gateway", "gateway"),
    Column("rules", _firewall),
    Column("isolation", "isolation"),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("simulated", "simulated"),
    Column("reason", "reason"),
]
OFFER = [Column("name", "name"), Column("all", "all"), Column("tenants", "tenants")]
Gateway = Annotated[
    str, typer.Option("--gateway", metavar="ADDRESS", help="Where its VMs send the rest.", show_default=False)
]
Dns = Annotated[
    list[str] | None,
    typer.Option("--dns", metavar="ADDRESS", help="A server of names; may be said again.", show_default=False),
]


@app.command(
    epilog=examples(
        "facet network create lan --project acme/web --zone az1 --cidr 10.0.0.0/24 --gateway 10.0.0.1 --wait"
    )
)
def create(
    ctx: typer.Context,
    name: Name,
    zone: Annotated[str, typer.Option("--zone", metavar="NAME", help="Where.", show_default=False)],
    cidr: Annotated[str, typer.Option("--cidr", metavar="SUBNET", help="Its subnet.", show_default=False)],
    project: Project = "",
    gateway: Gateway = "",
    dns: Dns = None,
    dhcp: Annotated[bool, typer.Option("--dhcp", help="The site has a DHCP server there; else Facet gives.")] = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Ask for a network: a VLAN that nobody else has, and this subnet."""
    session = Session(ctx, output)
    body = {"name": name, "zone": zone, "cidr": cidr, "gateway": gateway, "dns": dns or [], "dhcp": dhcp}
    answer = session.api.post(f"projects/{session.project(project)['id']}/networks", body)
    session.finish(answer, "network", waiting=wait, timeout=timeout, path="networks", columns=COLUMNS)


@app.command(epilog=examples("facet network update lan --project acme/web --dns 10.0.0.53 --rename inner"))
def update(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    gateway: Gateway = "",
    dns: Dns = None,
    rename: Annotated[str, typer.Option("--rename", metavar="NAME", help="Another name.", show_default=False)] = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Change a network for VMs to come; those that stand keep what they were given."""
    said: dict[str, Any] = {"name": rename, "gateway": gateway, "dns": dns}
    body = {key: value for key, value in said.items() if value}
    if not body:
        raise Usage("What shall be other than it is? Say at least one option.")
    session = Session(ctx, output)
    found = session.in_project("network", "networks", name, project)
    answer = session.api.patch(f"networks/{found['id']}", body)
    session.finish(answer, "network", waiting=wait, timeout=timeout, path="networks", columns=COLUMNS)


@app.command("list", epilog=examples("facet network list --project acme/web"))
def list_(ctx: typer.Context, project: Project = "", output: Output = Format.TABLE) -> None:
    """A project's own networks."""
    session = Session(ctx, output)
    rows = session.api.items(f"projects/{session.project(project)['id']}/networks")
    session.printer.rows(rows, COLUMNS, nothing="No networks yet.")


@app.command(epilog=examples("facet network show lan --project acme/web"))
def show(ctx: typer.Context, name: NameOrId, project: Project = "", output: Output = Format.TABLE) -> None:
    """One network."""
    session = Session(ctx, output)
    more = [Column("dns", "dns"), Column("dhcp", "dhcp"), Column("id", "id")]
    session.printer.one(session.in_project("network", "networks", name, project), [*COLUMNS, *more])


@app.command(epilog=examples("facet network delete lan --project acme/web --yes --wait"))
def delete(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Delete a network that no VM is on. Its VLAN goes back to the zone."""
    session = Session(ctx, output)
    found = session.in_project("network", "networks", name, project)
    session.delete("network", "networks", found, yes=yes, waiting=wait, timeout=timeout)


@app.command(
    epilog=examples(
        'facet network offer "VM Network" --site dc1 --tenant acme', 'facet network offer "VM Network" --site dc1 --all'
    )
)
def offer(
    ctx: typer.Context,
    name: NameOrId,
    site: Annotated[str, typer.Option("--site", metavar="NAME", help="Whose network it is.", show_default=False)] = "",
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", metavar="NAME", help="To this one; may be said again.", show_default=False),
    ] = None,
    to_all: Annotated[bool, typer.Option("--all", help="To all tenants.")] = False,
    to_none: Annotated[bool, typer.Option("--none", help="To nobody.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Lend a network of a site to all tenants, or to chosen ones alone. What stands on it stays."""
    if sum(map(bool, (tenant, to_all, to_none))) != 1:
        raise Usage("To whom? Say one of --all, --none and --tenant.")
    session = Session(ctx, output)
    body = {"all": to_all, "tenants": tenant or []}
    shown = session.api.put(f"site-networks/{_of_site(session, name, site)}/offers", body)
    session.printer.one(shown, OFFER)


def _of_site(session: Session, name: str, site: str) -> str:
    if resolve.is_id(name):
        return name
    if not site:
        raise Usage("Whose network? Say --site NAME.")
    where = resolve.one(session.api, "site", site)
    rows = [row for row in session.api.items(f"sites/{where['id']}/networks", name=name) if row.get("name") == name]
    if not rows:
        raise NotFound(f"Site {site} has no network {name}.")
    if len(rows) > 1:
        raise Usage(f"Several networks of site {site} are called {name}; say its id.")
    return str(rows[0]["id"])
