"""Saying why: of a placement, which hosts were left and how close the choice was; of a refusal, what stood in the way.

`why` of a Placement, as JSON:
    {"policy": "pack", "hosts": 24,                                  all hosts of the fleet
     "filters": [{"filter": "zone", "left": 8}, ...],                hosts left, filter by filter, before this role
     "score": {"members": 0, "labels": 0, "guarantee": 2, "usage": 0.6},  the lower the better, the first weighs most;
                                                                     null: found by trying all ways. Before these
                                                                     "elsewhere", where members would stay together:
                                                                     those that then stood on other hosts (zones)
     "next_best": {"host": "<id>", "score": {...}} | null}           the best slot on another host at that moment
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from .ask import Ask, NoRoom, Policy, Reason, Tightest
from .filters import FILTERS
from .fleet import Fleet
from .layout import Mask
from .roles import Choice, Scored
from .room import Room
from .scorers import PACK_LEVELS, SHUFFLE_BITS, SPREAD_LEVELS, scores


def why_these(fleet: Fleet, choice: Choice, policy: Policy) -> list[dict[str, Any]]:
    """Why for each slot of the choice, in its order. What is equal is shared: do not edit."""
    shared = {
        "policy": str(policy),
        "hosts": len(fleet.hosts),
        "filters": [{"filter": f.name, "left": left} for f, left in zip(FILTERS, choice.sifted.left, strict=True)],
    }
    if not choice.slots:
        return [{**shared, "score": None, "next_best": None}] * len(choice.hosts)
    after = {zone: _slot(fleet, one, policy) for zone, one in choice.runners_up.items()}
    following: dict[int, Scored] = {}
    told: dict[tuple[int, int | None], dict[str, float]] = {}
    found = []
    for one in reversed(choice.slots):
        zone = int(fleet.layout.host_zone[one.host]) if choice.by_zone else -1
        if zone in following and following[zone].host != one.host:
            after[zone] = _slot(fleet, following[zone], policy)
        following[zone] = one
        level = one.key >> SHUFFLE_BITS, one.elsewhere
        if level not in told:
            told[level] = readable(one, policy)
        found.append({**shared, "score": told[level], "next_best": after.get(zone)})
    return found[::-1]


def _slot(fleet: Fleet, one: Scored, policy: Policy) -> dict[str, Any]:
    return {"host": str(fleet.hosts[one.host].id), "score": readable(one, policy)}


def readable(one: Scored, policy: Policy) -> dict[str, float]:
    """The scores of a slot; `usage` as the part of the host that is empty (pack) or used (spread)."""
    found: dict[str, float] = {} if one.elsewhere is None else {"elsewhere": one.elsewhere}
    found |= scores(one.key)
    levels = PACK_LEVELS - 1 if policy is Policy.PACK else SPREAD_LEVELS
    found["usage"] = round(found["usage"] / levels, 3)
    if not found["loss"]:
        del found["loss"]
    return found


def refusal(fleet: Fleet, ask: Ask, room: Room, *, asked: int, placed: int, proven: bool) -> NoRoom:
    """Why this ask finds no host in this room; `placed` of all `asked` had found theirs."""
    left = len(fleet.hosts)
    everyone: Mask = np.ones(left, np.bool_)
    masks = [everyone if (mask := rule.mask(fleet, ask, room)) is None else mask for rule in FILTERS]
    through = everyone
    reasons = []
    for rule, mask in zip(FILTERS, masks, strict=True):
        through = through & mask
        now = int(np.count_nonzero(through))
        reasons.append(Reason(rule.name, rule.sentence, left - now, now))
        left = now
    return NoRoom(
        asked=asked,
        placed=placed,
        role=ask.role,
        reasons=tuple(reasons),
        tightest=_tightest(fleet, ask, room, masks),
        proven=proven,
    )


def _tightest(fleet: Fleet, ask: Ask, room: Room, masks: list[Mask]) -> Tightest | None:
    """The filter without which most hosts would do; when none alone is in the way, the one that most hosts fail."""
    failed = np.sum([~mask for mask in masks], axis=0)
    without = [int(np.count_nonzero((failed == 1) & ~mask)) for mask in masks]
    alone = [int(np.count_nonzero(~mask)) for mask in masks]
    at = max(range(len(masks)), key=lambda i: (without[i], alone[i]))
    if not alone[at]:
        return None
    rule = FILTERS[at]
    others: Mask = failed - ~masks[at] == 0  # hosts that only this filter could be against
    return Tightest(rule.name, rule.sentence, without[at], _numbers(fleet, ask, room, rule.name, others))


def _numbers(fleet: Fleet, ask: Ask, room: Room, name: str, hosts: Mask) -> dict[str, int]:
    """Asked, the largest room on one host, and the sum over hosts that pass all other filters."""
    if name in ("cpu", "memory"):
        free = room.usable(ask)[0 if name == "cpu" else 1][hosts]
        asked = ask.vcpu if name == "cpu" else ask.memory_mib
        return {"asked": asked, "largest_free": int(free.max(initial=0)), "free_together": int(free.sum())}
    if name == "datastore":
        rows = fleet.layout.reach(ask.storage_class).rows
        reached = {store for row in np.unique(fleet.layout.disk_row[hosts]).tolist() for store in rows[row].tolist()}
        space = [int(room.disk_gib[store]) for store in reached]
        return {"asked": ask.disk_gib or 0, "largest_free": max(space, default=0), "free_together": sum(space)}
    return {"hosts": int(np.count_nonzero(hosts))}


def as_json(refused: NoRoom) -> dict[str, Any]:
    """A refusal as plain values."""
    found: dict[str, Any] = asdict(refused)
    return found
