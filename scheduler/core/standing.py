"""VMs as they stand, and what becomes of them when they must go elsewhere: the values of drain.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from .ask import Ask, NoRoom
from .fleet import Hold


@dataclass(frozen=True)
class Standing:
    """A VM where it stands. `ask`: its key, amounts and rules as they are now; its group's members need not be told.

    `pool`: the one that pays, `vcpu_from_hold` and `memory_from_hold_mib`: what of the VM is within its guarantee.
    """

    ask: Ask
    host_id: UUID
    datastore_id: UUID | None = None
    pool: UUID | None = None
    vcpu_from_hold: int = 0
    memory_from_hold_mib: int = 0

    @property
    def key(self) -> UUID:
        return self.ask.key


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a VM goes. `disk_gib`: what it claims of the datastore there; 0, its disk stays where it is.

    `vcpu_eaten`, `memory_eaten_mib`: what it takes out of its pool's Hold there; the rest comes from free room.
    `vcpu_carried`, `memory_carried_mib`: the part of that rest that was within its pool's guarantee and stays so. Eaten
    and carried together are the new allocation's part from the hold, and only what the old one had above `carried`
    goes back into a Hold (Relocation.holds has found room for it).
    """

    key: UUID
    source_id: UUID
    zone_id: UUID
    host_id: UUID
    datastore_id: UUID | None
    disk_gib: int
    vcpu_eaten: int
    memory_eaten_mib: int
    vcpu_carried: int
    memory_carried_mib: int
    why: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Left:
    """A VM that finds no other host, and why. VMs that are equal share the refusal."""

    key: UUID
    source_id: UUID
    refused: NoRoom


@dataclass(frozen=True)
class Relocation:
    """What a drain, or a loss, comes to. `holds`: by pool the Holds in place of those that go, or why there is no room.

    Where a pool has a Hold on one of those hosts already, the new one comes on top of it.
    """

    moved: Sequence[Moved]
    left: Sequence[Left]
    holds: Mapping[UUID, Sequence[Hold] | NoRoom] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether all find room."""
        return not self.left and not any(isinstance(found, NoRoom) for found in self.holds.values())
