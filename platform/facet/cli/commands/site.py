"""Sites: vCenters and simulators."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import resolve
from ..faults import Exit, Fault, Usage
from ..options import Name, NameOrId, Output, PasswordStdin, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, age, plain
from ..quantities import size
from ..session import Session

app = noun("Sites: a vCenter or a simulator that Facet works on.")
COLUMNS = [
    Column("name", "name"),
    Column("driver", "driver"),
    Column("endpoint", "endpoint"),
    Column("phase", "phase", state=True),
    Column("product", "product"),
    Column("simulated", "simulated"),
    Column("budget", "budget", right=True),
    Column("synced", lambda row: age(row.get("last_synced_at"))),
    Column("reason", "reason"),
]
HOSTS = [
    Column("name", "name"),
    Column("state", "state", state=True),
    Column("zone", "zone"),
    Column("cluster", "vsphere_cluster"),
    Column("cores", "cpu_cores", right=True),
    Column("memory", lambda row: _size(row.get("memory_mib"), "MiB"), right=True),
    Column("vcpu claimed", lambda row: _of(row.get("vcpu_claimed"), row.get("vcpu_limit")), right=True),
    Column("memory claimed", lambda row: _size(row.get("memory_claimed_mib"), "MiB"), right=True),
]
DATASTORES = [
    Column("name", "name"),
    Column("zone", lambda row: row.get("zones") or row.get("zone")),
    Column("capacity", lambda row: _size(row.get("capacity_gib"), "GiB"), right=True),
    Column("limit", lambda row: _size(row.get("limit_gib"), "GiB"), right=True),
    Column("claimed", lambda row: _size(row.get("claimed_gib"), "GiB"), right=True),
]
NETWORKS = [
    Column("name", "name"),
    Column("kind", "kind"),
    Column("vlan", "vlan"),
    Column("zone", lambda row: row.get("zones")),
]
TEMPLATES = [
    Column("name", "name"),
    Column("kind", "kind"),
    Column("disk", "disk_gib"),
    Column("path", "path"),
]


class Driver(StrEnum):
    SIMULATOR = "simulator"
    VSPHERE = "vsphere"


DriverOption = Annotated[Driver, typer.Option("--driver", help="What kind of site it is.", show_default=False)]
Endpoint = Annotated[str, typer.Option("--endpoint", metavar="URL", help="Its address.", show_default=False)]
Username = Annotated[str, typer.Option("--username", help="Whom Facet logs in as there.", show_default=False)]
Budget = Annotated[
    int | None,
    typer.Option("--budget", min=1, max=640, help="Tasks that it may have in flight for Facet.", show_default=False),
]
CaFile = Annotated[
    str, typer.Option("--ca-file", metavar="FILE", help="The CA that signed its certificate.", show_default=False)
]


@app.command(
    epilog=examples(
        "facet site add dc1 --driver vsphere --endpoint https://vcenter.example.org/sdk"
        " --username facet@vsphere.local --ca-file ca.pem --wait",
        "facet site add lab --driver simulator --endpoint http://127.0.0.1:8802 --wait",
    )
)
def add(
    ctx: typer.Context,
    name: Name,
    driver: DriverOption,
    endpoint: Endpoint,
    username: Username = "",
    password_stdin: PasswordStdin = False,
    ca_file: CaFile = "",
    budget: Budget = None,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Register a site; a worker logs in there and takes its inventory."""
    session = Session(ctx, output)
    body = _connection(session, name, driver, endpoint, username, password_stdin, ca_file)
    if budget is not None:
        body["budget"] = budget
    answer = session.api.post("sites", body)
    session.finish(answer, "site", waiting=wait, timeout=timeout, path="sites", columns=COLUMNS)


@app.command(
    epilog=examples(
        "facet site check dc1",
        "facet site check dc1 --driver vsphere --endpoint https://vcenter.example.org/sdk"
        " --username facet@vsphere.local --ca-file ca.pem",
    )
)
def check(
    ctx: typer.Context,
    name: Name,
    driver: Annotated[
        Driver | None,
        typer.Option("--driver", help="With --endpoint: try it before it is registered.", show_default=False),
    ] = None,
    endpoint: Endpoint = "",
    username: Username = "",
    password_stdin: PasswordStdin = False,
    ca_file: CaFile = "",
    output: Output = Format.TABLE,
) -> None:
    """Try the way to a site, registered or not, and what its user may do there.

    Exit code 1 when it does not answer, or when the user lacks a privilege: each is named by its layer.
    """
    session = Session(ctx, output)
    if bool(endpoint) != (driver is not None):
        raise Usage("To try a site that is not registered, say both --driver and --endpoint.")
    if driver is not None:
        answer = session.api.post(
            "sites/check", _connection(session, name, driver, endpoint, username, password_stdin, ca_file)
        )
    else:
        answer = session.api.post(f"sites/{resolve.one(session.api, 'site', name)['id']}/check")
    if session.printer.for_people and answer.get("ok"):
        session.printer.done(f"{name} answers")
    session.printer.one(
        answer, [Column(key, key) for key in ("product", "version", "simulated", "hosts") if key in answer]
    )
    if not answer.get("ok"):
        problem = answer.get("problem") or {}
        raise Fault(f"{name}: {plain(problem.get('detail') or problem) or 'it does not answer'}", exit=Exit.FAILED)
    missing = answer.get("missing_privileges") or {}
    if missing:
        told = "; ".join(f"{layer}: {', '.join(names)}" for layer, names in missing.items())
        raise Fault(f"{name}: its user lacks privileges of {told}", exit=Exit.FAILED)


@app.command(
    epilog=examples(
        "facet site update dc1 --budget 64 --wait",
        "facet site update dc1 --username facet@vsphere.local --password-stdin < password.txt",
    )
)
def update(
    ctx: typer.Context,
    name: NameOrId,
    endpoint: Endpoint = "",
    username: Username = "",
    password_stdin: PasswordStdin = False,
    ca_file: CaFile = "",
    budget: Budget = None,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Change the way to a site, or what Facet may have in flight there; it is tried at once."""
    session = Session(ctx, output)
    site = resolve.one(session.api, "site", name)
    body: dict[str, Any] = {key: said for key, said in (("endpoint", endpoint), ("username", username)) if said}
    if password_stdin:
        body["password"] = session.password(from_stdin=True, label="Password")
    if ca_file:
        body["ca_pem"] = _certificate(ca_file)
    if budget is not None:
        body["budget"] = budget
    if not body:
        raise Usage("What shall be other than it is? Say at least one option.")
    answer = session.api.patch(f"sites/{site['id']}", body)
    session.finish(answer, "site", waiting=wait, timeout=timeout, path=f"sites/{site['id']}", columns=COLUMNS)


@app.command(epilog=examples("facet site sync dc1 --wait"))
def sync(
    ctx: typer.Context, name: NameOrId, wait: Wait = False, timeout: Timeout = "", output: Output = Format.TABLE
) -> None:
    """Take the inventory now."""
    session = Session(ctx, output)
    site = resolve.one(session.api, "site", name)
    answer = session.api.post(f"sites/{site['id']}/sync")
    session.finish(answer, "site", waiting=wait, timeout=timeout, path=f"sites/{site['id']}", columns=COLUMNS)


@app.command("list", epilog=examples("facet site list", "facet site list -o json"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """All sites."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("sites"), COLUMNS, nothing="No sites yet.")


@app.command(epilog=examples("facet site show dc1"))
def show(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """One site."""
    session = Session(ctx, output)
    site = resolve.one(session.api, "site", name)
    session.printer.one(site, [*COLUMNS, Column("username", "username"), Column("id", "id")])


@app.command(epilog=examples("facet site delete dc1 --yes"))
def delete(
    ctx: typer.Context,
    name: NameOrId,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Forget a site that has no zones."""
    session = Session(ctx, output)
    site = resolve.one(session.api, "site", name)
    session.delete("site", "sites", site, yes=yes, waiting=wait, timeout=timeout)


@app.command(epilog=examples("facet site hosts dc1", "facet site hosts dc1 --zone az1"))
def hosts(
    ctx: typer.Context,
    name: NameOrId,
    zone: Annotated[str, typer.Option("--zone", help="Of this zone alone.", show_default=False)] = "",
    output: Output = Format.TABLE,
) -> None:
    """A site's hosts, and what is claimed of them."""
    _parts(Session(ctx, output), name, "hosts", HOSTS, zone=zone or None)


@app.command(epilog=examples("facet site datastores dc1"))
def datastores(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """A site's datastores."""
    _parts(Session(ctx, output), name, "datastores", DATASTORES)


@app.command(epilog=examples("facet site networks dc1"))
def networks(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """A site's networks."""
    _parts(Session(ctx, output), name, "networks", NETWORKS)


@app.command(epilog=examples("facet site templates dc1"))
def templates(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """A site's templates, of which images are made."""
    _parts(Session(ctx, output), name, "templates", TEMPLATES)


def _parts(session: Session, name: str, kind: str, columns: list[Column], **query: object) -> None:
    site = resolve.one(session.api, "site", name)
    session.printer.rows(
        session.api.items(f"sites/{site['id']}/{kind}", **query), columns, nothing=f"{site['name']} has no {kind}."
    )


def _connection(
    session: Session, name: str, driver: Driver, endpoint: str, username: str, password_stdin: bool, ca_file: str
) -> dict[str, Any]:
    password = ""
    if password_stdin or username or driver is Driver.VSPHERE:
        if not username:
            raise Usage("As whom does Facet log in there? Say --username NAME.")
        password = session.password(from_stdin=password_stdin, label=f"Password of {username}")
    body: dict[str, Any] = {
        "name": name, "driver": driver.value, "endpoint": endpoint, "username": username, "password": password,
    }  # fmt: skip
    if ca_file:
        body["ca_pem"] = _certificate(ca_file)
    return body


def _certificate(file: str) -> str:
    try:
        return Path(file).expanduser().read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"--ca-file: {file} cannot be read: {error}") from None


def _size(value: Any, unit: str) -> str:
    return size(value, unit) if isinstance(value, int) else ""


def _of(part: Any, whole: Any) -> str:
    return "" if part is None else f"{part}/{whole}" if whole is not None else str(part)
