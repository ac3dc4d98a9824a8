"""Shutting guests down, and changing the size of what stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from uuid import UUID

from ..base import SizeSpec, VmOutcome
from .answers import outcome
from .parts import Parts


class Lifecycle(Parts):
    """See infra.drivers.base."""

    def shut_down(self, keys: Iterable[UUID]) -> Mapping[UUID, VmOutcome]:
        wanted = list(dict.fromkeys(keys))
        answers = self._way.ask("shut_down", keys=[str(key) for key in wanted]) if wanted else {}
        return {key: outcome(answers[str(key)]) for key in wanted}

    def ensure_size(self, sizes: Mapping[UUID, SizeSpec]) -> Mapping[UUID, VmOutcome]:
        wanted = {str(key): asdict(size) for key, size in sizes.items()}
        answers = self._way.ask("resize", sizes=wanted) if wanted else {}
        return {key: outcome(answers[str(key)]) for key in sizes}

    def ensure_names(self, names: Mapping[UUID, str]) -> Mapping[UUID, VmOutcome]:
        answers = self._way.ask("rename", names={str(key): name for key, name in names.items()}) if names else {}
        return {key: outcome(answers[str(key)]) for key in names}
