"""A project's folder in a zone: made when the first VM needs it, removed when the last one is gone."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from facet.operations.engine import ComeAgain, Turn
from infra.drivers import base
from infra.models import Zone
from tenants.models import Project

from .models import VM, ProjectFolder


def claim(*, project: Project, zones: Iterable[Zone]) -> None:
    """Rows for the folders that a request will need, in its transaction."""
    ProjectFolder.objects.bulk_create(
        [ProjectFolder(tenant_id=project.tenant_id, project=project, zone=zone) for zone in zones],
        ignore_conflicts=True,
    )


def ensure(turn: Turn, driver: base.Driver, *, project: Project, zones: Iterable[Zone]) -> dict[UUID, str]:
    """zone id -> ref of the project's folder there, standing now. Raises ComeAgain while a zone is not ready."""
    with turn.reading():
        rows = {
            row.zone_id: row
            for row in ProjectFolder.objects.filter(project=project, zone__in=list(zones)).select_related("zone")
        }
    refs = {}
    for zone_id, row in rows.items():
        if not row.zone.folder_ref:
            raise ComeAgain(f"Zone {row.zone.name} does not stand at its site yet.")
        turn.renew()
        refs[zone_id] = driver.ensure_folder(
            base.FolderSpec(key=row.id, name=project.name, parent_ref=row.zone.folder_ref, ref=row.ref or None)
        )
        if refs[zone_id] != row.ref:
            with turn.transaction():
                ProjectFolder.objects.filter(pk=row.pk).update(ref=refs[zone_id])
    return refs


def tidy(turn: Turn, driver: base.Driver, *, project_id: UUID, zone_ids: Iterable[UUID]) -> None:
    """Remove the project's folders, at the sites of these zones, that hold no VM any more. One that fills now stays.

    A VM that a drain moved into another zone lies in its former zone's folder still: that one is tried too.
    """
    with turn.reading():
        used = set(VM.objects.filter(project_id=project_id, deleted_at=None).values_list("zone_id", flat=True))
        sites = Zone.objects.filter(pk__in=list(zone_ids)).values("site_id")
        rows = list(
            ProjectFolder.objects.filter(project_id=project_id, zone__site_id__in=sites)
            .exclude(zone_id__in=used)
            .exclude(ref="")
        )
    for row in rows:
        turn.renew()
        try:
            driver.ensure_no_folder(row.ref)
        except base.Refused:
            continue  # another cluster's first VM has just arrived in it: it is in use, and so it stays
        with turn.transaction():
            ProjectFolder.objects.filter(pk=row.pk, ref=row.ref).update(ref="")
