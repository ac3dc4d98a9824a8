"""Storage policies, and disks with a life of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from ..base import GoneOutcome, PolicyFacts, Refused, VolumeFacts, VolumeOutcome, VolumeSpec
from .parts import Parts


class Volumes(Parts):
    """See infra.drivers.base."""

    def policies(self) -> tuple[PolicyFacts, ...]:
        return ()

    def find_volumes(self, keys: Iterable[UUID]) -> Mapping[UUID, VolumeFacts]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_volumes(self, specs: Sequence[VolumeSpec]) -> Mapping[UUID, VolumeOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_no_volumes(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def attach(self, pairs: Mapping[UUID, UUID]) -> Mapping[UUID, VolumeOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def detach(self, keys: Iterable[UUID]) -> Mapping[UUID, VolumeOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_volume_snapshots(self, wanted: Mapping[UUID, UUID]) -> Mapping[UUID, VolumeOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_no_volume_snapshots(self, gone: Mapping[UUID, UUID]) -> Mapping[UUID, GoneOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")
