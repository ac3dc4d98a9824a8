"""Operations: started in the request's transaction, told by the passes, ended once. Every move is a compare-and-set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from facet.rest.access import SYSTEM, Actor
from facet.rest.problems import Conflict

from . import events
from .models import OPEN_PHASES, Operation, Phase


@dataclass(frozen=True, slots=True)
class Target:
    """What an operation is about."""

    kind: str
    id: UUID
    name: str
    tenant_id: UUID | None = None
    project_id: UUID | None = None
    site_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of an operation as people follow it. `phase`: waiting | running | done | failed."""

    name: str
    title: str
    phase: str = "waiting"
    done: int = 0
    total: int = 1


def start(
    verb: str,
    *,
    target: Target,
    by: Actor,
    generation: int = 1,
    undo: dict[str, Any] | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    first: bool = False,
) -> Operation:
    """A new operation and its event. A newer one on the same target cancels those that are still open.

    `first`: the target is made in this transaction, so that nothing can be open on it.
    """
    operation = Operation(
        verb=verb,
        tenant_id=target.tenant_id,
        project_id=target.project_id,
        site_id=target.site_id,
        target_kind=target.kind,
        target_id=target.id,
        target_name=target.name,
        generation=generation,
        undo=undo,
        actor={"kind": by.kind, "id": str(by.id) if by.id else None, "name": by.name},
    )
    older = [] if first else list(open_ones(target.kind, target.id).values_list("id", flat=True))
    if older:
        Operation.objects.filter(pk__in=older, phase__in=OPEN_PHASES).update(
            phase=Phase.CANCELLED, ended_at=timezone.now(), superseded_by=operation.id
        )
    operation.save(force_insert=True)
    for id in older:
        events.ring(id)
    events.record(
        verb,
        by=by,
        kind=target.kind,
        id=target.id,
        name=target.name,
        tenant_id=target.tenant_id,
        project_id=target.project_id,
        message="asked for",
        before=before,
        after=after,
    )
    return operation


def open_ones(kind: str, id: UUID) -> Any:
    return Operation.objects.filter(target_kind=kind, target_id=id, phase__in=OPEN_PHASES)


def report(kind: str, id: UUID, steps: Sequence[Step]) -> None:
    """Tell how far the open operation on this object is. Writes only what has changed."""
    operation = open_ones(kind, id).order_by("-created_at").first()
    if operation is None:
        return
    told = _with_times(operation.steps, steps)
    if told == operation.steps and operation.phase == Phase.RUNNING:
        return
    Operation.objects.filter(pk=operation.pk, phase__in=OPEN_PHASES).update(
        steps=told, phase=Phase.RUNNING, started_at=operation.started_at or timezone.now()
    )
    events.ring(operation.id)


def _with_times(before: list[dict[str, Any]], steps: Sequence[Step]) -> list[dict[str, Any]]:
    known = {step["name"]: step for step in before}
    now = timezone.now().isoformat()
    told = []
    for step in steps:
        was: Mapping[str, Any] = known.get(step.name, {})
        started = was.get("started_at") or (None if step.phase == "waiting" else now)
        ended = (was.get("ended_at") or now) if step.phase in ("done", "failed") else None
        told.append(asdict(step) | {"started_at": started, "ended_at": ended})
    return told


def succeed(kind: str, id: UUID, *, generation: int, asked_before: datetime | None = None) -> None:
    """End the open operations on this object whose generation has become real.

    `asked_before`: only those that are older, for what must be looked at after it was asked for.
    """
    ended = open_ones(kind, id).filter(generation__lte=generation)
    if asked_before is not None:
        ended = ended.filter(created_at__lt=asked_before)
    for operation in list(ended):
        _end(operation, Phase.SUCCEEDED, steps=[_closed(step) for step in operation.steps])


def fail(kind: str, id: UUID, *, code: str, detail: str, **more: Any) -> None:
    """End the open operations on this object with the first cause."""
    for operation in open_ones(kind, id):
        steps = [step | {"phase": "failed"} if step["phase"] == "running" else step for step in operation.steps]
        _end(operation, Phase.FAILED, steps=steps, problem={"code": code, "detail": detail, **more})


def _closed(step: dict[str, Any]) -> dict[str, Any]:
    ended = step.get("ended_at") or timezone.now().isoformat()
    return step | {"phase": "done", "done": step["total"], "ended_at": ended}


def _end(operation: Operation, phase: Phase, *, by: Actor = SYSTEM, **changes: Any) -> bool:
    """Move an open operation to its end, and say so; False when another was faster."""
    won = Operation.objects.filter(pk=operation.pk, phase__in=OPEN_PHASES).update(
        phase=phase, ended_at=timezone.now(), **changes
    )
    if not won:
        return False
    problem = changes.get("problem") or {}
    events.record(
        f"{operation.verb}.{phase.value}",
        by=by,
        kind=operation.target_kind,
        id=operation.target_id,
        name=operation.target_name,
        tenant_id=operation.tenant_id,
        project_id=operation.project_id,
        message=problem.get("detail", ""),
    )
    events.ring(operation.id)
    return True


Canceller = Callable[[Operation, Actor], None]


def cancel(operation: Operation, *, by: Actor, cancellers: Mapping[str, Canceller]) -> None:
    """Take back what an open operation asked for. Raises Conflict when it has ended or cannot be taken back."""
    if operation.phase not in OPEN_PHASES:
        raise Conflict(f"It has already ended: {operation.phase}.", code="already_ended")
    if operation.verb.endswith(".delete"):
        raise Conflict("A delete cannot be cancelled.", code="use_restore")
    undo = cancellers.get(operation.verb)
    if undo is None:
        raise Conflict(f"A {operation.verb} cannot be cancelled.", code="not_cancellable")
    undo(operation, by)
    if _end(operation, Phase.CANCELLED, by=by):
        return
    operation.refresh_from_db()
    newer = Operation.objects.filter(pk=operation.superseded_by, verb__endswith=".delete")
    if operation.superseded_by is None or not newer.exists():  # taking back a create is a delete, which supersedes it
        raise Conflict(f"It has just ended: {operation.phase}.", code="already_ended")  # and with it goes what undo did
