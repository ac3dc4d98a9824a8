"""placement explain: would it fit, and why not."""

from __future__ import annotations

import typer

from .. import problems
from ..faults import Exit, Fault
from ..options import Output, Project, examples, noun
from ..output import Column, Format
from ..session import Session
from .cluster import FlavorOption, PlaneFlavor, Planes, Workers, Zones, wanted

app = noun("Placements: where machines would go.")
COLUMNS = [Column(key, key) for key in ("name", "role", "zone", "host", "datastore")]


@app.command(epilog=examples("facet placement explain --project acme/web --zone az1 --control-planes 3 --workers 20"))
def explain(
    ctx: typer.Context,
    zone: Zones,
    project: Project = "",
    control_planes: Planes = 1,
    workers: Workers = 1,
    flavor: FlavorOption = "",
    control_plane_flavor: PlaneFlavor = "",
    output: Output = Format.TABLE,
) -> None:
    """Say where a cluster's machines would go, holding nothing; exit code 6 and the reasons when they do not fit."""
    session = Session(ctx, output)
    body = wanted(
        name="dry-run", zones=zone, control_planes=control_planes, workers=workers, flavor=flavor,
        control_plane_flavor=control_plane_flavor,
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
