"""Copies of templates where others can be cloned from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from ..base import GoneOutcome, ImageOutcome, ImageSpec, Refused
from .parts import Parts


class Images(Parts):
    """See infra.drivers.base."""

    def ensure_images(self, specs: Sequence[ImageSpec]) -> Mapping[UUID, ImageOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_no_images(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]:
        raise Refused("This layer does not do that yet.", code="not_supported")
