"""Storage policies: the simulated datacenter has some of its own."""

from __future__ import annotations

from ..base import PolicyFacts
from .parts import Parts


class Policies(Parts):
    """See infra.drivers.base."""

    def policies(self) -> tuple[PolicyFacts, ...]:
        told = self._way.ask("policies")["policies"]
        return tuple(PolicyFacts(**one | {"datastore_refs": tuple(one["datastore_refs"])}) for one in told)
