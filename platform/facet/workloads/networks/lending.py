"""A VM that names no network of its project's stands on one that its zone lends, and never on one that it does not.

Asked to make a VM on no network, a site would leave it on its template's: so that is not asked for where networks are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from facet.rest.problems import Conflict
from infra.models import PhysicalNetwork, Zone


def check(zones: Sequence[Zone], lent: Collection[object]) -> None:
    """Raises Conflict where zones have networks, and lend none of them to whoever asks. `lent`: those that they do."""
    if not lent and PhysicalNetwork.objects.filter(zones__in=zones, present=True, offered_to_all=False).exists():
        names = ", ".join(zone.name for zone in zones)
        raise Conflict(f"Zone {names} lends no network to your tenant; name one of your own.", code="no_network_lent")
