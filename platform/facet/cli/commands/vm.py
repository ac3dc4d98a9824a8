"""VMs: single machines of a project."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..client import Document
from ..faults import Usage
from ..options import Name, NameOrId, Output, Project, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, Row, age
from ..session import Session

app = noun("VMs: single machines of a project.")


def _owner(row: Row) -> str:
    kind = str((row.get("owner") or {}).get("kind") or "")
    return "" if kind == "vm" else kind


def _addresses(row: Row) -> str:
    return ", ".join(row.get("addresses") or ())


def _networks(row: Row) -> str:
    """Each with the address that Facet gave on it."""
    cards = row.get("nics") or ()
    return ", ".join("=".join(filter(None, (card["network"], card.get("address_wanted")))) for card in cards)


def _drift(row: Row) -> str:
    """What is other at the site than it was asked for."""
    return ", ".join(f"{line['field']} {line['seen']}" for line in row.get("drift") or ())


COLUMNS = [
    Column("name", "name"),
    Column("phase", "phase", state=True),
    Column("power", "power", state=True),
    Column("address", "address"),
    Column("zone", "zone"),
    Column("host", "host"),
    Column("flavor", "flavor"),
    Column("of", _owner),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("simulated", "simulated"),
    Column("drift", _drift),
    Column("reason", "reason"),
]

Zones = Annotated[
    list[str], typer.Option("--zone", metavar="NAME", help="Where; may be said again.", show_default=False)
]
Flavor = Annotated[str, typer.Option("--flavor", help="Its shape; small by default.", show_default=False)]
Image = Annotated[
    str, typer.Option("--image", help="What it is made of; the site's newest by default.", show_default=False)
]
Policy = Annotated[
    str, typer.Option("--policy", metavar="pack|spread", help="Which of the hosts comes first.", show_default=False)
]
Require = Annotated[
    list[str] | None,
    typer.Option("--require", metavar="KEY=VALUE", help="Hosts with this label alone.", show_default=False),
]
Prefer = Annotated[
    list[str] | None,
    typer.Option("--prefer", metavar="KEY=VALUE", help="Hosts with this label first.", show_default=False),
]
Avoid = Annotated[
    list[str] | None,
    typer.Option("--avoid", metavar="KEY=VALUE", help="Hosts with this label last.", show_default=False),
]
StorageClass = Annotated[
    str, typer.Option("--storage-class", metavar="NAME", help="Where its disk lies.", show_default=False)
]
Clone = Annotated[
    str, typer.Option("--clone", metavar="VM", help="Of another VM of the project instead.", show_default=False)
]
Snapshot = Annotated[
    str, typer.Option("--snapshot", metavar="NAME", help="As that VM was at this snapshot.", show_default=False)
]
Empty = Annotated[bool, typer.Option("--empty", help="Of nothing: hardware with an empty disk.")]
GuestId = Annotated[
    str, typer.Option("--guest-id", metavar="TYPE", help="An empty VM's guest type, at vSphere.", show_default=False)
]
PowerOff = Annotated[bool, typer.Option("--off", help="Make it, and do not power it on.")]
UserData = Annotated[
    str,
    typer.Option(
        "--user-data", metavar="FILE", help="cloud-config for its first boot; - reads stdin.", show_default=False
    ),
]
SshKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--ssh-key", metavar="FILE", help="A public key that its guest lets in; may be said again.", show_default=False
    ),
]
Nics = Annotated[
    list[str] | None,
    typer.Option(
        "--nic", metavar="NETWORK[=ADDRESS]", help="A network card, in order; may be said again.", show_default=False
    ),
]
Labels = list[str] | None
ANY_GUEST = "otherGuest64"


def wanted(
    *, zones: list[str], name: str = "", flavor: str = "", image: str = "", policy: str = "",
    require: Labels = None, prefer: Labels = None, avoid: Labels = None, storage_class: str = "",
    off: bool = False, user_data: str = "", ssh_keys: Sequence[str] = (), nics: Sequence[str] = (),
    source: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The body that asks for a VM; what is not said is not sent, so that the server's defaults hold."""
    rules: dict[str, Any] = {"policy": policy, "storage_class": storage_class}
    for option, said in (("require", require), ("prefer", prefer), ("avoid", avoid)):
        rules[option] = labels(said or (), option=f"--{option}")
    body: dict[str, Any] = {"name": name, "zones": zones, "flavor": flavor, "image": image}
    body["placement"] = {key: value for key, value in rules.items() if value}
    body["power"] = "off" if off else ""
    body |= {"user_data": user_data, "ssh_keys": list(ssh_keys), "nics": [card(text) for text in nics]}
    return {key: value for key, value in (body | (source or {})).items() if value}


def source_of(clone: str, snapshot: str, empty: bool, guest_id: str) -> dict[str, Any]:
    """The part of the body that says what a VM is made of, where that is no image. Raises Usage."""
    if clone and empty:
        raise Usage("Say either --clone VM or --empty.")
    if snapshot and not clone:
        raise Usage("--snapshot: of which VM? Say --clone VM.")
    if guest_id and not empty:
        raise Usage("--guest-id is of an empty VM: say --empty.")
    return {"clone_of": clone, "snapshot": snapshot, "empty": {"guest_id": guest_id or ANY_GUEST} if empty else None}


def card(said: str) -> dict[str, str]:
    """`lan` or `lan=10.0.0.5`."""
    network, equals, address = said.partition("=")
    if not network or (equals and not address):
        raise Usage(f"--nic: {said!r} is no card, as lan or lan=10.0.0.5 is.")
    return {"network": network} | ({"address": address} if address else {})


def text_of(file: str, *, option: str) -> str:
    """What a file holds, or stdin for `-`; "" where none is said. Raises Usage."""
    if not file:
        return ""
    try:
        return sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{option}: {file} cannot be read: {error}") from None


def keys_of(files: Sequence[str]) -> list[str]:
    """The lines of public keys in these files. A private key is not sent. Raises Usage."""
    texts = [(file, text_of(file, option="--ssh-key")) for file in files]
    private = [file for file, text in texts if "PRIVATE KEY" in text]
    if private:
        raise Usage(f"--ssh-key: {private[0]} holds a private key; the public one is beside it, {private[0]}.pub.")
    return [line for _, text in texts for line in text.splitlines() if line.strip() and not line.startswith("#")]


def labels(said: Sequence[str], *, option: str) -> dict[str, str]:
    """`rack=r1`, said once or more. Raises Usage."""
    found = {}
    for text in said:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise Usage(f"{option}: {text!r} is no label, as rack=r1 is.")
        if key in found:
            raise Usage(f"{option}: {key} is said twice.")
        found[key] = value
    return found


def find(session: Session, name: str, project: str) -> Document:
    """The VM of this name in the project, or of this id."""
    return session.in_project("vm", "vms", name, project)


@app.command(
    epilog=examples(
        "facet vm create db --project acme/web --zone az1 --flavor medium --image debian-12 --wait",
        "facet vm create db --project acme/web --zone az1 --zone az2 --policy pack --require rack=r1 --off",
        "facet vm create db-2 --project acme/web --zone az1 --clone db --snapshot before-upgrade",
        "facet vm create bare --project acme/web --zone az1 --empty --guest-id otherLinux64Guest",
        "facet vm create db --project acme/web --zone az1 --user-data app.yaml --ssh-key ~/.ssh/id_ed25519.pub",
        "facet vm create db --project acme/web --zone az1 --nic lan=10.0.0.5 --nic backup",
    )
)
def create(
    ctx: typer.Context,
    name: Name,
    zone: Zones,
    project: Project = "",
    flavor: Flavor = "",
    image: Image = "",
    clone: Clone = "",
    snapshot: Snapshot = "",
    empty: Empty = False,
    guest_id: GuestId = "",
    policy: Policy = "",
    require: Require = None,
    prefer: Prefer = None,
    avoid: Avoid = None,
    storage_class: StorageClass = "",
    off: PowerOff = False,
    user_data: UserData = "",
    ssh_key: SshKeys = None,
    nic: Nics = None,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Ask for a VM. What does not fit is refused at once, with the reasons."""
    session = Session(ctx, output)
    body = wanted(
        name=name, zones=zone, flavor=flavor, image=image, policy=policy, require=require, prefer=prefer, avoid=avoid,
        storage_class=storage_class, off=off, user_data=text_of(user_data, option="--user-data"),
        ssh_keys=keys_of(ssh_key or ()), nics=nic or (), source=source_of(clone, snapshot, empty, guest_id),
    )  # fmt: skip
    answer = session.api.post(f"projects/{session.project(project)['id']}/vms", body)
    session.finish(answer, "vm", waiting=wait, timeout=timeout, path="vms", columns=COLUMNS)


@app.command("list", epilog=examples("facet vm list --project acme/web"))
def list_(ctx: typer.Context, project: Project = "", output: Output = Format.TABLE) -> None:
    """A project's VMs, the machines of its clusters among them."""
    session = Session(ctx, output)
    owner = session.project(project)
    session.printer.rows(session.api.items(f"projects/{owner['id']}/vms"), COLUMNS, nothing="No VMs yet.")


@app.command(epilog=examples("facet vm show db --project acme/web"))
def show(ctx: typer.Context, name: NameOrId, project: Project = "", output: Output = Format.TABLE) -> None:
    """One VM."""
    session = Session(ctx, output)
    more = [
        Column("addresses", _addresses),
        Column("networks", _networks),
        Column("image", "image"),
        Column("id", "id"),
    ]
    session.printer.one(find(session, name, project), [*COLUMNS, *more])


@app.command(epilog=examples("facet vm delete db --project acme/web --yes --wait"))
def delete(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Delete a VM and its disk. A cluster's machine goes with its cluster."""
    session = Session(ctx, output)
    vm = find(session, name, project)
    session.delete("vm", "vms", vm, beside=" and its disk", yes=yes, waiting=wait, timeout=timeout)
