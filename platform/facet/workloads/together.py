"""VMs that were asked for one by one and wait for the same act: whoever's turn it is takes the others along.

So a hundred requests cost a site about what one request for a hundred costs. What is done for all is one act of a pass:
clone, boot, look. Each goes on in a pass of its own, which finds it done.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now
from django.utils import timezone

from facet.operations.models import Inflight, Wakeup

from .machines import SLICE
from .models import VM, VM_KIND, VmPhase
from .scene import Scene

GATHERS_FOR = timedelta(seconds=5)  # nobody waits for longer than this for others
GATHERS_S = 0.2


def gathering(scene: Scene) -> bool:
    """Whether others of the project are being sent to the site at this moment: the next ones then go together too."""
    if scene.vm.phase != VmPhase.PENDING or timezone.now() - scene.vm.created_at > GATHERS_FOR:
        return False
    with scene.turn.reading():
        sending = VM.objects.filter(
            project_id=scene.vm.project_id, zone__site_id=scene.site.id, owner_kind=VM_KIND, phase=VmPhase.CLONING,
            deleted_at=None,
        )  # fmt: skip
        open_tasks = Inflight.objects.filter(site_id=scene.site.id, ended_at=None).values("about")
        keys = sending.exclude(pk__in=open_tasks).values("id")
        return Wakeup.objects.filter(kind=VM_KIND, key__in=keys, lease_until__gt=Now()).exists()


def fellows(scene: Scene) -> list[VM]:
    """Others of the project that are where this VM is, untouched since they were asked for, and now in our turn."""
    if scene.was_made or scene.vm.failures:
        return []
    phase = scene.vm.phase
    rows = VM.objects.filter(
        project_id=scene.vm.project_id, zone__site_id=scene.site.id, owner_kind=VM_KIND, phase=phase, generation=1,
        power_wanted=scene.vm.power_wanted, failures=0, missing_at=None, delete_asked_at=None, deleted_at=None,
    ).exclude(pk=scene.vm.pk).exclude(image=None)  # fmt: skip
    if phase == VmPhase.RUNNING:
        rows = rows.filter(address=None)
    with scene.turn.reading():
        open_tasks = Inflight.objects.filter(site_id=scene.site.id, ended_at=None).values("about")
        keys = list(rows.exclude(pk__in=open_tasks).order_by("created_at").values_list("id", flat=True)[: SLICE - 1])
    if keys:
        scene.turn.take_along(keys)
    if not scene.turn.along:
        return []
    with scene.turn.reading():
        return list(
            rows.filter(pk__in=scene.turn.along).select_related("project", "zone", "image__template", "network")
        )
