"""What the user may do at the site."""

from __future__ import annotations

from collections.abc import Mapping

from .parts import Parts


class Privileges(Parts):
    """See infra.drivers.base."""

    def missing_privileges(self) -> Mapping[str, tuple[str, ...]]:
        lacks = self._way.ask("privileges")["missing"]
        return {layer: tuple(names) for layer, names in lacks.items()}
