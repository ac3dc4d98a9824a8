"""Snapshots of VMs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from ..base import DriverError, GoneOutcome, InFlight, Refused, SnapshotFacts, SnapshotSpec, VmOutcome
from .parts import Parts


class Snapshots(Parts):
    """See infra.drivers.base."""

    def ensure_snapshots(self, specs: Sequence[SnapshotSpec]) -> Mapping[UUID, SnapshotFacts | InFlight | DriverError]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_no_snapshots(self, keys: Mapping[UUID, UUID]) -> Mapping[UUID, GoneOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def snapshots(self, keys: Iterable[UUID]) -> Mapping[UUID, tuple[SnapshotFacts, ...]]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def revert(self, vm_key: UUID, snapshot_key: UUID) -> VmOutcome:
        raise Refused("This layer does not do that yet.", code="not_supported")
