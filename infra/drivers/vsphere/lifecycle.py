"""Shutting guests down, and changing the size of what stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from ..base import Refused, SizeSpec, VmOutcome
from .parts import Parts


class Lifecycle(Parts):
    """See infra.drivers.base."""

    def shut_down(self, keys: Iterable[UUID]) -> Mapping[UUID, VmOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_size(self, sizes: Mapping[UUID, SizeSpec]) -> Mapping[UUID, VmOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")
