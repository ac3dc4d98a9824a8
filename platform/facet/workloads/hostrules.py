"""VMs of zones that are parts of vSphere clusters: who is in the rule that keeps the zone's VMs on its hosts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from facet.operations.engine import Turn
from infra import hostrules
from infra.drivers import base
from infra.models import Zone

from .models import VM


def keep(turn: Turn, driver: base.Driver, keys: Iterable[UUID]) -> None:
    """These VMs, each in its zone's rule. Said before they are powered on, and when they have come from elsewhere."""
    with turn.reading():
        pairs = VM.objects.filter(pk__in=list(keys)).values_list("zone_id", "id")
        rules = _rules(pairs, joining=True)
    _write(turn, driver, rules)


def let_go(turn: Turn, driver: base.Driver, leaving: Mapping[UUID, UUID]) -> None:
    """VM -> the zone that it is about to leave: a must rule would refuse the move."""
    with turn.reading():
        rules = _rules([(zone, key) for key, zone in leaving.items()], joining=False)
    _write(turn, driver, rules)


def _rules(pairs: Iterable[tuple[UUID, UUID]], *, joining: bool) -> list[base.HostRule]:
    by_zone: dict[UUID, list[UUID]] = defaultdict(list)
    for zone_id, key in pairs:
        by_zone[zone_id].append(key)
    zones = Zone.objects.filter(pk__in=by_zone).order_by("id")
    found = [hostrules.of(zone, **{"joining" if joining else "leaving": by_zone[zone.id]}) for zone in zones]
    return [rule for rule in found if rule is not None]


def _write(turn: Turn, driver: base.Driver, rules: Iterable[base.HostRule]) -> None:
    for rule in rules:
        turn.renew()
        driver.ensure_rule(rule)
