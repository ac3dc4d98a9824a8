"""What differs at the site from what was asked for: said on the VM, told once, and put right where its zone says so.

Compared is a VM at rest only: what is under way differs all the time. A look that began before the row was seen last is
too old to judge it. A cluster's machine is shown as any other; its cluster mends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from facet.operations import events
from facet.operations.models import OPEN_PHASES, Operation
from facet.rest.access import SYSTEM
from infra.drivers import base
from infra.drivers.base import VmFacts
from infra.models import DriftPolicy, Host
from scheduler import ledger
from scheduler.models import Allocation, Move

from . import following
from .models import VM, VM_KIND, VmPhase
from .resizing import DIMENSIONS

MACHINE = "machine"  # the field that says that the site no longer shows it
SETTLING = timedelta(seconds=3)
STANDING = (VmPhase.BUILT, VmPhase.RUNNING)
Line = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """What a slice of a look came to: VMs that moved within their zone, and VMs to be mended by their zone's policy."""

    moved: Sequence[VmFacts]
    mend: Sequence[UUID]


def judge(rows: Mapping[UUID, VM], seen: Iterable[VmFacts], began: datetime | None) -> Judged:
    """Compare these VMs, as their rows were just read, with what is seen; write down what differs. In a transaction."""
    told = {vm.key: vm for vm in seen if vm.key in rows and _at_rest(rows[vm.key], began)}
    held = ledger.allocations(told)
    elsewhere = {key for key, one in held.items() if (one.seen_on or one.host).ref != told[key].host_ref}
    elsewhere |= {key for key, one in held.items() if one.datastore.ref not in told[key].datastore_refs}
    ground = following.Ground.of(next(iter(rows.values())).zone.site_id) if elsewhere else following.Ground({}, {})
    ours_move = set(Move.objects.filter(holder__in=elsewhere, ended_at=None).values_list("holder", flat=True))
    elsewhere -= ours_move
    moved = [told[key] for key in sorted(elsewhere) if following.has_moved(told[key], held[key], ground)]
    mend = []
    for key in sorted(told):
        lines = found(rows[key], told[key])
        if key in elsewhere and (away := _host(held[key], told[key], ground.hosts)):
            lines.append(away)
        if _write(rows[key], lines) and rows[key].zone.drift_policy == DriftPolicy.REPAIR:
            mend.append(key)
    return Judged(moved, mend)


def _at_rest(vm: VM, began: datetime | None) -> bool:
    settled = vm.phase in STANDING and vm.deleted_at is None and vm.delete_asked_at is None
    wanted = vm.resizing is None and not vm.restart_wanted and vm.stop_asked_at is None
    stale = began is not None and vm.seen_at is not None and vm.seen_at > began
    return settled and wanted and not stale


def found(vm: VM, seen: VmFacts) -> list[Line]:
    """[{field, wanted, seen}] of a VM at rest; its host is another matter."""
    pairs: list[tuple[str, Any, Any]] = []
    booted = vm.phase == VmPhase.RUNNING and not _just_booted(vm)
    if booted or (vm.phase == VmPhase.BUILT and vm.power_wanted == base.Power.OFF):
        pairs.append(("power", vm.power_wanted, seen.power.value))
    pairs += [(name, getattr(vm, name), getattr(seen, name)) for name in DIMENSIONS]
    pairs.append(("name", vm.site_name or vm.name, seen.name))
    return [{"field": field, "wanted": wanted, "seen": got} for field, wanted, got in pairs if wanted != got]


def _just_booted(vm: VM) -> bool:
    """What the site tells of its power may be of the moment before."""
    return vm.booted_at is not None and timezone.now() - vm.booted_at < SETTLING


def _host(held: Allocation, seen: VmFacts, hosts: Mapping[str, Host]) -> Line | None:
    """Where it stands, if that is no host of its zone; unknown hosts are told when they have been looked at."""
    host = hosts.get(seen.host_ref)
    if host is None or (host if host.bin is None else host.bin).zone_id == held.zone_id:
        return None
    return {"field": "host", "wanted": held.host.name, "seen": host.name}


def missing(vm: VM) -> None:
    """The site no longer shows it. In the transaction that says so on its row."""
    _write(vm, [{"field": MACHINE, "wanted": "present", "seen": "missing"}])


def _write(vm: VM, lines: Sequence[Line]) -> bool:
    """Keep the lines with the time since when; tell what is new, and what is so no more. Whether any is new."""
    known = {line["field"]: line for line in vm.drift or ()}
    now = timezone.now().isoformat()
    kept = [line | {"since": _since(known.get(line["field"]), line) or now} for line in lines]
    new = [line for line in kept if line != known.get(line["field"])]
    gone = [line for field, line in known.items() if field not in {one["field"] for one in kept}]
    if not new and not gone:
        return False
    if new and _under_way(vm):
        return False
    same = VM.objects.filter(pk=vm.pk, generation=vm.generation, deleted_at=None, resizing__isnull=True)
    if not same.update(drift=kept or None):
        return False
    if gone:
        tell(vm, "vm.drift_mended", f"No longer other than asked for: {_fields(gone)}.", before=gone)
    if new:
        tell(vm, "vm.drifted", f"Other at the site than asked for: {_fields(new)}.", after=new)
    return bool(new)


def _since(before: Line | None, line: Line) -> str | None:
    same = before is not None and (before["wanted"], before["seen"]) == (line["wanted"], line["seen"])
    return str(before["since"]) if same and before is not None else None


def _under_way(vm: VM) -> bool:
    return Operation.objects.filter(target_kind=VM_KIND, target_id=vm.id, phase__in=OPEN_PHASES).exists()


def _fields(lines: Iterable[Line]) -> str:
    return ", ".join(f"{line['field']} is {line['seen']}, not {line['wanted']}" for line in lines)


def tell(
    vm: VM, verb: str, message: str, *, by: Any = SYSTEM, before: Sequence[Line] = (), after: Sequence[Line] = ()
) -> None:
    events.record(
        verb, by=by, kind=VM_KIND, id=vm.id, name=vm.name, tenant_id=vm.tenant_id, project_id=vm.project_id,
        message=message, before={"drift": list(before)} if before else None,
        after={"drift": list(after)} if after else None,
    )  # fmt: skip
