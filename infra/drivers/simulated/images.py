"""Copies of templates where others can be cloned from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from uuid import UUID

from ..base import GoneOutcome, ImageOutcome, ImageSpec, TemplateFacts
from ..simulator_way import Document, driver_error
from .parts import Parts


class Images(Parts):
    """See infra.drivers.base."""

    def ensure_images(self, specs: Sequence[ImageSpec]) -> Mapping[UUID, ImageOutcome]:
        wanted = {str(spec.key): asdict(spec) | {"key": str(spec.key)} for spec in specs}
        answers = self._way.ask("image", wanted=wanted) if wanted else {}
        return {spec.key: _outcome(answers[str(spec.key)]) for spec in specs}

    def ensure_no_images(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]:
        asked = list(dict.fromkeys(keys))
        answers = self._way.ask("no_image", keys=[str(key) for key in asked]) if asked else {}
        return {key: driver_error(one["error"]) if "error" in (one := answers[str(key)]) else None for key in asked}


def _outcome(answer: Document) -> ImageOutcome:
    if "error" in answer:
        return driver_error(answer["error"])
    one = answer["template"]
    return TemplateFacts(**(one | {"datastore_refs": tuple(one["datastore_refs"])}))
