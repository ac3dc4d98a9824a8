"""What one pass over a VM knows: its row as it was read last, its site's driver, what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from facet.operations import services as operations
from facet.operations.engine import Again, Outcome, Turn
from facet.operations.models import Operation
from facet.operations.services import Step
from infra import outside
from infra.drivers import base
from infra.models import Site

from . import machines, nics
from .machines import Tasks
from .models import VM, VM_KIND, Snapshot, VmPhase

SOON_S = 0.3  # while guests boot nothing tells us that they have; the watch process tells of the site's own tasks
LATER_S = 2.0
STANDING = (VmPhase.BUILT, VmPhase.RUNNING)


@dataclass
class Scene:
    """A row is a look, not the truth: every write about it says under which condition it holds."""

    turn: Turn
    vm: VM
    operation: Operation | None  # the newest that is open
    tasks: Tasks = field(default_factory=Tasks)
    reason: dict[str, Any] | None = None  # what this pass has found to wait for, see wait()

    @classmethod
    def read(cls, turn: Turn) -> Scene:
        with turn.reading():
            rows = VM.objects.select_related("project", "zone__site", "image__template", "network")
            vm = rows.prefetch_related(nics.rows()).get(pk=turn.key)
            return cls(turn, vm, operations.open_ones(VM_KIND, vm.id).order_by("-created_at").first())

    def reread(self) -> None:
        """The row as the last act left it."""
        self.vm = Scene.read(self.turn).vm

    def changed(self, **changes: Any) -> bool:
        """Write this about the VM as it was read, unless more was asked for meanwhile, and read it. Whether it won."""
        with self.turn.transaction():
            won = self.same().update(**changes)
        self.reread()
        return bool(won)

    def same(self) -> QuerySet[VM]:
        """The VM, if nothing more was asked of it since it was read."""
        rows = VM.objects.filter(pk=self.vm.pk, generation=self.vm.generation, deleted_at=None)
        return rows.exclude(phase=VmPhase.DELETING)

    def settle_tasks(self) -> None:
        self.tasks = machines.settle_tasks(self.turn, self.driver, count_failures=not self.was_made)
        if self.tasks.failed:
            self.reread()

    @property
    def site(self) -> Site:
        return self.vm.zone.site

    @cached_property
    def driver(self) -> base.Driver:
        return outside.driver_of(self.site)

    @property
    def running(self) -> frozenset[UUID]:
        """Itself, while something is still being done to it at the site."""
        return self.tasks.running

    @property
    def busy(self) -> bool:
        return bool(self.running)

    @property
    def open_operation(self) -> bool:
        return self.operation is not None

    @property
    def was_made(self) -> bool:
        """More was asked of it than to be made: it holds something, and no fault of the site's own gives it up."""
        return self.vm.generation > 1

    @property
    def is_changing(self) -> bool:
        """On its way to come again, or to another size."""
        return self.vm.restart_wanted or self.vm.resizing is not None

    @property
    def shall_go_off(self) -> bool:
        """Before anything else: to stay off, to come again, or to take its new size."""
        return not self.shall_run or self.vm.restart_wanted or bool((self.vm.resizing or {}).get("off"))

    @property
    def shall_run(self) -> bool:
        return self.vm.power_wanted == base.Power.ON

    @property
    def runs(self) -> bool:
        return self.vm.phase == VmPhase.RUNNING and self.vm.power == base.Power.ON

    @property
    def is_off(self) -> bool:
        """As the site was seen last; one that was never on has no power."""
        return self.vm.power in (base.Power.OFF, "")

    @property
    def has_address(self) -> bool:
        """And those that were given to it; or has no network to have one on, or no system."""
        if self.vm.guest_id:  # nothing is on its disk that could tell one
            return True
        return self.vm.network_id is None or bool(self.vm.address and not nics.waits_for(self.vm))

    @property
    def is_coming(self) -> bool:
        """Something that was asked for is not real yet."""
        stands = self.vm.phase == (VmPhase.RUNNING if self.shall_run else VmPhase.BUILT)
        return self.open_operation or not stands or self.is_changing

    @property
    def pace_s(self) -> float:
        """Whoever has just begun is looked at more often; of the end of a task the watch tells too."""
        asked_at = self.operation.created_at if self.operation else self.vm.created_at
        young = (timezone.now() - asked_at).total_seconds() < 60
        return SOON_S if young and not self.busy and self.vm.phase in STANDING else LATER_S

    def wait(self, code: str, sentence: str) -> Outcome:
        """Not there yet: the reason will stand on the VM."""
        before = self.vm.reason or {}
        known = before.get("since") if before.get("code") == code else None
        since = known or timezone.now().isoformat()
        self.reason = {"code": code, "sentence": sentence, "action": "Facet goes on by itself.", "since": since}
        return Again(LATER_S)

    def tell(self) -> None:
        """Write down what this pass waits for, or that it waits for nothing, and how far it is."""
        with self.turn.transaction():
            retries = self.reason is None and self.vm.failures > 0  # what the site said last stands until it is right
            if self.vm.reason != self.reason and not retries:
                same = VM.objects.filter(pk=self.vm.pk, phase=self.vm.phase, generation=self.vm.generation)
                same.update(reason=self.reason)
            self.report()

    def report(self) -> None:
        """Tell whoever asked how far it is. In a transaction."""
        if self.open_operation:
            operations.report(VM_KIND, self.vm.id, self._steps())

    def _steps(self) -> list[Step]:
        if self.vm.phase == VmPhase.DELETING:
            return [Step("machine", "The machine is removed", "running")]
        steps, running = [], False
        for name, title, done in self._acts():
            phase = "done" if done else "waiting" if running else "running"
            running = running or not done
            steps.append(Step(name, title, phase, int(done)))
        return steps

    def _acts(self) -> list[tuple[str, str, bool]]:
        """What the open operation asks for, in order: name, title, whether it is done."""
        verb = self.operation.verb if self.operation else ""
        told = {step["name"] for step in self.operation.steps} if self.operation else set()
        acts = [("machine", "The machine is made", self.vm.phase in STANDING)]
        if verb in ("vm.stop", "vm.restart") or "off" in told or (self.vm.resizing or {}).get("off"):
            acts.append(("off", "Its guest shuts down, and it is off", not self.shall_go_off or self.is_off))
        if verb == "vm.revert":
            waits = Snapshot.objects.filter(vm_id=self.vm.id, revert_asked_at__isnull=False).exists()
            acts.append(("revert", "It goes back to its snapshot", not waits))
        if verb == "vm.resize":
            acts.append(("size", "It takes its new size", self.vm.resizing is None))
        if self.shall_run:
            acts += [
                ("boot", "It boots", self.runs and not self.shall_go_off),
                ("address", "It tells its address", self.has_address and self.runs and not self.shall_go_off),
            ]
        return acts
