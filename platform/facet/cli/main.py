"""The `facet` command: the nouns put together, and every expected fault turned into a sentence and an exit code."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import problems
from .commands import (
    access,
    account,
    addon,
    address,
    adoption,
    allocation,
    cluster,
    context,
    event,
    firewall,
    flavor,
    foresight,
    host,
    image,
    member,
    network,
    operation,
    placement,
    pool,
    project,
    quota,
    service_account,
    site,
    snapshot,
    storage_class,
    tenant,
    token,
    usage,
    user,
    vm,
    vm_life,
    volume,
    zone,
)
from .faults import Fault
from .options import examples
from .output import Printer
from .session import Globals

app = typer.Typer(
    name="facet",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "facet login --server https://facet.example.org --user ada",
        "facet cluster create shop --project acme/web --zone az1 --workers 3 --wait",
        "facet cluster kubeconfig shop --project acme/web > shop.yaml",
        "facet operation list -o json",
    ),
)
account.register(app)
usage.register(app)
access.register(cluster.app)
vm_life.register(vm.app)
vm.app.add_typer(snapshot.app, name="snapshot")
foresight.register(zone.app)
adoption.register(vm.app)
for _name, _noun in (
    ("context", context.app),
    ("site", site.app),
    ("zone", zone.app),
    ("host", host.app),
    ("storage-class", storage_class.app),
    ("flavor", flavor.app),
    ("image", image.app),
    ("addon", addon.app),
    ("tenant", tenant.app),
    ("quota", quota.app),
    ("pool", pool.app),
    ("user", user.app),
    ("group", user.groups),
    ("member", member.app),
    ("project", project.app),
    ("service-account", service_account.app),
    ("token", token.app),
    ("cluster", cluster.app),
    ("vm", vm.app),
    ("volume", volume.app),
    ("network", network.app),
    ("firewall", firewall.app),
    ("address", address.app),
    ("placement", placement.app),
    ("allocation", allocation.app),
    ("operation", operation.app),
    ("event", event.app),
):
    app.add_typer(_noun, name=_name)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facet {importlib.metadata.version('facet-platform')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    context: Annotated[
        str,
        typer.Option(
            "--context", metavar="NAME", help="The context to use instead of the current one.", show_default=False
        ),
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Facet: one API in front of compute, network and storage; every tenant sees its own facet of it."""
    ctx.obj = Globals(context=context)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        app(args=list(arguments), prog_name="facet")
    except Fault as fault:
        problems.explain(Printer(), fault)
        return int(fault.exit)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
