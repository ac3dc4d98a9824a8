"""placement explain: would it fit, and why not."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import problems
from ..faults import Exit, Fault
from ..options import Output, Project, examples, noun
from ..output import Column, Format
from ..session import Session
from .cluster import FlavorOption, PlaneFlavor, Planes, Workers, Zones, wanted
from .cluster import rules as of_workers
from .vm import Avoid, Policy, Prefer, Require, StorageClass
from .vm import wanted as wanted_vm

app = noun("Placements: where machines would go.")
COLUMNS = [Column(key, key) for key in ("name", "role", "zone", "host", "datastore")]


@app.command(
    epilog=examples(
        "facet placement explain --project acme/web --zone az1 --control-planes 3 --workers 20",
        "facet placement explain --project acme/web --zone az1 --vm small --count 5",
    )
)
def explain(
    ctx: typer.Context,
    zone: Zones,
    project: Project = "",
    control_planes: Planes = 1,
    workers: Workers = 1,
    flavor: FlavorOption = "",
    control_plane_flavor: PlaneFlavor = "",
    vm: Annotated[
        str, typer.Option("--vm", metavar="FLAVOR", help="VMs of this flavor instead of a cluster.", show_default=False)
    ] = "",
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="So many VMs.")] = 1,
    policy: Policy = "",
    require: Require = None,
    prefer: Prefer = None,
    avoid: Avoid = None,
    storage_class: StorageClass = "",
    output: Output = Format.TABLE,
) -> None:
    """Say where a cluster's machines, or VMs, would go, holding nothing; exit code 6 and the reasons if they don't fit.

    --policy, --require, --prefer, --avoid and --storage-class are rules for the VMs, or for the cluster's workers.
    """
    session = Session(ctx, output)
    body: dict[str, Any]
    rules: dict[str, Any] = {
        "policy": policy, "require": require, "prefer": prefer, "avoid": avoid, "storage_class": storage_class
    }  # fmt: skip
    if vm:
        body = {"vm": wanted_vm(zones=zone, flavor=vm, **rules), "count": count}
    else:
        body = wanted(
            name="dry-run", zones=zone, control_planes=control_planes, workers=workers, flavor=flavor,
            control_plane_flavor=control_plane_flavor, placement=of_workers(**rules),
        )  # fmt: skip
    answer = session.api.post(f"projects/{session.project(project)['id']}/placements", body)
    if not session.printer.for_people:
        session.printer.document(answer)
    elif answer.get("fits"):
        session.printer.rows(answer.get("placements") or [], COLUMNS, nothing="Nothing to place.")
    else:
        problems.details(session.printer, answer)
    if not answer.get("fits"):
        raise Fault("It does not fit.", exit=Exit.REFUSED)
