"""Disks with a life of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from ..base import (
    AttachSpec,
    GoneOutcome,
    VolumeFacts,
    VolumeOutcome,
    VolumeSnapshotSpec,
    VolumeSpec,
)
from ..simulator_way import Document, driver_error
from .parts import Parts


class Volumes(Parts):
    """See infra.drivers.base."""

    def find_volumes(self, places: Mapping[UUID, str]) -> Mapping[UUID, VolumeFacts]:
        found = self._way.ask("volumes", keys=[str(key) for key in places]) if places else {}
        return {UUID(key): _facts(one) for key, one in found.items()}

    def ensure_volumes(self, specs: Sequence[VolumeSpec]) -> Mapping[UUID, VolumeOutcome]:
        wanted = {
            str(one.key): {"name": one.name, "size_gib": one.size_gib, "datastore": one.datastore_ref} for one in specs
        }
        return self._said("volume", [spec.key for spec in specs], wanted=wanted)

    def ensure_no_volumes(self, places: Mapping[UUID, str]) -> Mapping[UUID, GoneOutcome]:
        return self._gone("no_volume", list(places), keys=[str(key) for key in places])

    def attach(self, specs: Sequence[AttachSpec]) -> Mapping[UUID, VolumeOutcome]:
        pairs = {str(spec.key): str(spec.vm_key) for spec in specs}
        return self._said("attach", [spec.key for spec in specs], pairs=pairs)

    def detach(self, places: Mapping[UUID, str]) -> Mapping[UUID, VolumeOutcome]:
        return self._said("detach", list(places), keys=[str(key) for key in places])

    def ensure_volume_snapshots(self, specs: Sequence[VolumeSnapshotSpec]) -> Mapping[UUID, VolumeOutcome]:
        wanted = {str(spec.key): str(spec.volume_key) for spec in specs}
        return self._said("volume_snapshot", [spec.key for spec in specs], wanted=wanted)

    def ensure_no_volume_snapshots(self, specs: Sequence[VolumeSnapshotSpec]) -> Mapping[UUID, GoneOutcome]:
        gone = {str(spec.key): str(spec.volume_key) for spec in specs}
        return self._gone("no_volume_snapshot", [spec.key for spec in specs], gone=gone)

    def _said(self, verb: str, of: Sequence[UUID], **request: Any) -> dict[UUID, VolumeOutcome]:
        answers = self._way.ask(verb, **request) if of else {}
        return {key: _outcome(answers[str(key)]) for key in of}

    def _gone(self, verb: str, of: Sequence[UUID], **request: Any) -> dict[UUID, GoneOutcome]:
        answers = self._way.ask(verb, **request) if of else {}
        return {key: driver_error(one["error"]) if "error" in (one := answers[str(key)]) else None for key in of}


def _outcome(answer: Document) -> VolumeOutcome:
    return driver_error(answer["error"]) if "error" in answer else _facts(answer["volume"])


def _facts(one: Document) -> VolumeFacts:
    holder = one["attached_to"]
    return VolumeFacts(
        ref=one["ref"],
        key=UUID(one["ref"]),
        size_gib=one["size_gib"],
        datastore_ref=one["datastore_ref"],
        attached_to=None if holder is None else UUID(holder),
        snapshots=tuple(UUID(key) for key in one["snapshots"]),
    )
