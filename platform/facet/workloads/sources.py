"""What a VM is made of where that is no image: another VM of its project, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from facet.rest.problems import Invalid
from infra.models import Site
from tenants.models import Project

from .models import VM, ObjectPhase, Snapshot, VmPhase


@dataclass(frozen=True)
class Source:
    """A VM and, where one is named, its snapshot; or the guest type of an empty VM."""

    vm: VM | None = None
    snapshot: Snapshot | None = None
    guest_id: str = ""

    def settle(self, vms: Sequence[VM], site: Site) -> None:
        """Write it onto the (unsaved) VMs. A clone has at least its source's disk. Raises Invalid."""
        if self.vm is not None and self.vm.zone.site_id != site.id:
            raise Invalid({"clone_of": f"{self.vm.name} stands at another site than these zones."})
        for vm in vms:
            vm.guest_id = self.guest_id
            if self.vm is not None:
                vm.source_id = self.vm.id
                vm.source_snapshot_id = self.snapshot.id if self.snapshot is not None else None
                vm.disk_gib = max(vm.disk_gib, self.vm.disk_gib)


def of(project: Project, data: Mapping[str, Any]) -> Source | None:
    """What a valid request names; None for one of an image. Raises Invalid."""
    if data.get("empty"):
        return Source(guest_id=data["empty"]["guest_id"])
    if not data.get("clone_of"):
        return None
    rows = VM.objects.filter(project=project, deleted_at=None).select_related("zone")
    vm = rows.filter(**_named(data["clone_of"])).first()
    if vm is None:
        raise Invalid({"clone_of": f"{project.name} has no VM {data['clone_of']}."})
    if vm.phase not in (VmPhase.BUILT, VmPhase.RUNNING):
        raise Invalid({"clone_of": f"{vm.name} is {vm.phase}: only what stands is cloned."})
    return Source(vm, _snapshot(vm, data["snapshot"]) if data.get("snapshot") else None)


def _snapshot(vm: VM, name: str) -> Snapshot:
    found = Snapshot.objects.filter(vm=vm, deleted_at=None, **_named(name)).first()
    if found is None or found.phase != ObjectPhase.READY:
        raise Invalid({"snapshot": f"{vm.name} has no snapshot {name} that is ready."})
    return found


def _named(text: str) -> dict[str, Any]:
    try:
        return {"id": UUID(text)}
    except ValueError:
        return {"name": text}
