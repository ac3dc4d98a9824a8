"""Snapshots of VMs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from ..base import DriverError, GoneOutcome, InFlight, SnapshotFacts, SnapshotSpec, VmOutcome
from ..descriptions import described, key_in
from ..simulator_way import Document, driver_error
from .answers import outcome
from .parts import Parts


class Snapshots(Parts):
    """See infra.drivers.base."""

    def ensure_snapshots(self, specs: Sequence[SnapshotSpec]) -> Mapping[UUID, SnapshotFacts | InFlight | DriverError]:
        wanted = {
            str(spec.key): {
                "vm": str(spec.vm_key),
                "name": spec.name,
                "description": described(spec.key),
                "with_memory": spec.with_memory,
            }
            for spec in specs
        }
        answers = self._way.ask("snapshot", wanted=wanted) if wanted else {}
        return {spec.key: _taken(answers[str(spec.key)]) for spec in specs}

    def ensure_no_snapshots(self, keys: Mapping[UUID, UUID]) -> Mapping[UUID, GoneOutcome]:
        gone = {str(key): {"vm": str(vm_key), "description": described(key)} for key, vm_key in keys.items()}
        answers = self._way.ask("no_snapshot", gone=gone) if gone else {}
        return {key: _gone(answers[str(key)]) for key in keys}

    def snapshots(self, keys: Iterable[UUID]) -> Mapping[UUID, tuple[SnapshotFacts, ...]]:
        wanted = [str(key) for key in keys]
        found = self._way.ask("snapshots", keys=wanted) if wanted else {}
        return {UUID(key): tuple(_facts(one) for one in told["snapshots"]) for key, told in found.items()}

    def revert(self, vm_key: UUID, snapshot_key: UUID) -> VmOutcome:
        return outcome(self._way.ask("revert", reverts={str(vm_key): described(snapshot_key)})[str(vm_key)])


def _taken(answer: Document) -> SnapshotFacts | InFlight | DriverError:
    if "error" in answer:
        return driver_error(answer["error"])
    return InFlight(answer["task"], answer["doing"]) if "task" in answer else _facts(answer["snapshot"])


def _gone(answer: Document) -> GoneOutcome:
    if "error" in answer:
        return driver_error(answer["error"])
    return InFlight(answer["task"], answer["doing"]) if "task" in answer else None


def _facts(one: Document) -> SnapshotFacts:
    return SnapshotFacts(
        ref=one["ref"],
        key=key_in(one["description"]),
        name=one["name"],
        created_at=datetime.fromtimestamp(one["created_at"], UTC),
        with_memory=one["with_memory"],
    )
