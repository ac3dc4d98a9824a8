"""What would fit instead: fewer, smaller, elsewhere. Each was placed by the same code before it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from .ask import Ask, NearFit, NoRoom, Plan, Policy, Shape
from .fleet import Fleet
from .place import place

TRIES = 32


@dataclass
class _Trial:
    """Asks again and again, a bounded number of times."""

    fleet: Fleet
    policy: Policy
    seed: int
    left: int

    def fits(self, asks: Sequence[Ask]) -> bool:
        """False also when no tries are left."""
        if self.left <= 0:
            return False
        self.left -= 1
        return isinstance(place(asks, self.fleet, policy=self.policy, seed=self.seed, effort=0), Plan)


def with_nearest(
    refused: NoRoom,
    asks: Sequence[Ask],
    fleet: Fleet,
    *,
    policy: Policy,
    seed: int,
    counts: Mapping[str, Sequence[int]] | None = None,
    flavors: Sequence[Shape] = (),
    zones: Sequence[UUID] = (),
    others: Mapping[UUID, Sequence[Ask]] | None = None,
    tries: int = TRIES,
) -> NoRoom:
    """The refusal of these asks, with what was found to fit instead; at most `tries` more placings.

    `counts`: the numbers that a role may have ({"control_plane": [1, 3, 5]}; others any). `flavors`: the shapes that it
    may have. `zones`: those of the asked ones that might take all of it. `others`: for zones that were not asked, the
    asks as they would be there.
    """
    trial = _Trial(fleet, policy, seed, tries)
    found = [
        *_fewer(trial, asks, refused.role, counts or {}),
        *_smaller(trial, asks, refused.role, flavors),
        *_elsewhere(trial, asks, zones, others or {}),
    ]
    return replace(refused, nearest=tuple(found))


def _fewer(trial: _Trial, asks: Sequence[Ask], role: str, counts: Mapping[str, Sequence[int]]) -> Iterator[NearFit]:
    """The most of the role that found no room, else of the largest other role, all else as asked."""
    sizes = {name: sum(ask.role == name for ask in asks) for name in {ask.role for ask in asks}}
    others = sorted((name for name in sizes if name != role), key=lambda name: (-sizes[name], name))
    for name in [role, *others[:1]]:
        asked = sizes[name]
        allowed = sorted({n for n in counts.get(name, range(1, asked)) if 0 < n < asked})

        def fits(count: int, name: str = name) -> bool:
            return trial.fits(_first(asks, name, count))

        best = _last_true(allowed, fits)
        if best is not None:
            yield NearFit("fewer", f"{best} of {asked} {name or 'asked'} fit.", {"role": name, "count": best})
            return


def _first(asks: Sequence[Ask], role: str, count: int) -> list[Ask]:
    """The asks without those of the role beyond the first `count`."""
    kept = []
    for ask in asks:
        if ask.role == role:
            count -= 1
        if ask.role != role or count >= 0:
            kept.append(ask)
    return kept


def _last_true(values: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """The largest value that fits, by halving; what it answers did fit."""
    best, low, high = None, 0, len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        if fits(values[middle]):
            best, low = values[middle], middle + 1
        else:
            high = middle - 1
    return best


def _smaller(trial: _Trial, asks: Sequence[Ask], role: str, flavors: Sequence[Shape]) -> Iterator[NearFit]:
    """The largest flavor that is no larger than asked in anything, for the role that found no room."""
    mine = [ask for ask in asks if ask.role == role]
    vcpu, memory = min(ask.vcpu for ask in mine), min(ask.memory_mib for ask in mine)
    disk = min(ask.disk_gib or 0 for ask in mine)
    for flavor in sorted(flavors, key=lambda shape: (-shape.vcpu, -shape.memory_mib, -shape.disk_gib, shape.name)):
        no_larger = flavor.vcpu <= vcpu and flavor.memory_mib <= memory and flavor.disk_gib <= disk
        if not no_larger or (flavor.vcpu, flavor.memory_mib, flavor.disk_gib) == (vcpu, memory, disk):
            continue
        if trial.fits([_reshaped(ask, flavor) if ask.role == role else ask for ask in asks]):
            yield NearFit(
                "flavor",
                f"All fit with flavor {flavor.name} for {role or 'them'}.",
                {"role": role, "flavor": flavor.name, "vcpu": flavor.vcpu, "memory_mib": flavor.memory_mib},
            )
            return


def _reshaped(ask: Ask, shape: Shape) -> Ask:
    disk = None if ask.disk_gib is None else shape.disk_gib
    return replace(ask, vcpu=shape.vcpu, memory_mib=shape.memory_mib, disk_gib=disk)


def _elsewhere(
    trial: _Trial, asks: Sequence[Ask], zones: Sequence[UUID], others: Mapping[UUID, Sequence[Ask]]
) -> Iterator[NearFit]:
    """Each zone that takes the whole batch."""
    names = {zone.id: zone.name for zone in trial.fleet.zones}
    asked = [set(ask.zones) for ask in asks]
    alone = [zone for zone in zones if any(together != {zone} for together in asked)]
    ways = {zone: [replace(ask, zones=(zone,)) for ask in asks] for zone in alone} | dict(others)
    for zone, there in ways.items():
        if zone in names and trial.fits(there):
            yield NearFit("zone", f"All fit in zone {names[zone] or zone}.", {"zone": str(zone), "name": names[zone]})
