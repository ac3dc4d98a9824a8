"""What is asked of the scheduler, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

MOST = 1 << 40  # no amount is larger: sums of a batch stay far inside 64 bits

Label = tuple[str, str]


class Policy(StrEnum):
    """Which of the hosts that fit comes first."""

    PACK = "pack"  # the fullest: large shapes keep finding empty hosts
    SPREAD = "spread"  # the emptiest: a host that dies takes the least with it


class Apart(StrEnum):
    """Anti-affinity: whether two members of a group may share a host."""

    REQUIRED = "required"  # never
    PREFERRED = "preferred"  # only when no other host fits


class Together(StrEnum):
    """Affinity: whether members of a group must share a host, or a zone (Level)."""

    REQUIRED = "required"  # always
    PREFERRED = "preferred"  # as far as there is room


class Level(StrEnum):
    """What those who stay together share."""

    HOST = "host"
    ZONE = "zone"


class Shape(NamedTuple):
    """A flavor, or the chunk in which a guarantee is held."""

    name: str
    vcpu: int
    memory_mib: int
    disk_gib: int


@dataclass(frozen=True)
class Group:
    """Affinity and anti-affinity: the asks of one batch that carry the same key, and the members that stand already.

    `over_zones` evens the members out over the zones that the ask allows, before anything else is weighed.
    `together`: a member goes only (or first) where others stand, on their host or in their zone (`level`); the first
    ones choose one host (zone) for all. Members that were parted from outside keep several: a new one joins any.
    Where wishes are at odds, what is required wins, and `together` wins over a preference to stay apart and over
    `over_zones`. Raises ValueError where members must share a host and must not.
    """

    key: str
    apart: Apart | None = Apart.PREFERRED
    over_zones: bool = False
    members: tuple[UUID, ...] = ()  # hosts of the standing members, a host once for each
    together: Together | None = None
    level: Level = Level.HOST

    def __post_init__(self) -> None:
        if self.apart is Apart.REQUIRED and self.together is Together.REQUIRED and self.level is Level.HOST:
            raise ValueError("members of a group cannot be both apart and together on one host")

    @property
    def avoids_sharing(self) -> bool:
        """A host with fewer members is better."""
        return self.apart is Apart.PREFERRED and (self.together is None or self.level is Level.ZONE)

    @property
    def even(self) -> bool:
        """Evened out over the zones."""
        return self.over_zones and self.together is None


@dataclass(frozen=True)
class Ask:
    """Room wanted for one VM, or for one chunk of a guarantee. Hosts, networks and datastores are named by id.

    `pools`: whose guarantees it may use, at most one for each zone (a VM spends from its project's pool in the zone).
    `networks`: the host must reach one of them; empty means none is needed. `every_network`: it must reach them all.
    `disk_gib` None needs no datastore.
    Raises ValueError for amounts that are negative, absurd, or no whole numbers.
    """

    key: UUID
    vcpu: int
    memory_mib: int
    disk_gib: int | None
    zones: tuple[UUID, ...]
    name: str = ""
    role: str = ""  # what these are called together: "workers"
    pools: tuple[UUID, ...] = ()
    networks: tuple[UUID, ...] = ()
    every_network: tuple[UUID, ...] = ()
    every_datastore: tuple[UUID, ...] = ()  # of its volumes, beside that of its own disk: the host must reach them all
    storage_class: str | None = None
    group: Group | None = None
    require: tuple[Label, ...] = ()  # labels that the host must carry
    prefer: tuple[Label, ...] = ()  # is better with
    avoid: tuple[Label, ...] = ()  # is better without
    policy: Policy | None = None  # its role's own; None: the batch's

    def __post_init__(self) -> None:
        disk = 0 if self.disk_gib is None else self.disk_gib
        for what, amount in (("vcpu", self.vcpu), ("memory_mib", self.memory_mib), ("disk_gib", disk)):
            if type(amount) is not int or not 0 <= amount <= MOST:
                raise ValueError(f"{what} must be a whole number from 0 to {MOST}, not {amount!r}")
        if self.vcpu == 0 and self.memory_mib == 0:
            raise ValueError("an ask wants vcpu or memory_mib")

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for asks that differ in key and name alone: those are interchangeable."""
        return _KIND(self)


_KIND = attrgetter(
    "role",
    "vcpu",
    "memory_mib",
    "disk_gib",
    "zones",
    "pools",
    "networks",
    "every_network",
    "every_datastore",
    "storage_class",
    "group",
    "require",
    "prefer",
    "avoid",
    "policy",
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one ask goes. `why` can be written as JSON; see why.py for its shape."""

    key: UUID
    zone_id: UUID
    host_id: UUID
    datastore_id: UUID | None
    why: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """Room for every ask, in the order in which they were asked."""

    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Reason:
    """One filter's part in a refusal: of the hosts that the filters before it left, it removed these."""

    filter: str
    sentence: str
    removed_hosts: int
    left_hosts: int


@dataclass(frozen=True)
class Tightest:
    """The limit that stands nearest to a yes: without this filter alone, `hosts_without` hosts would do."""

    filter: str
    sentence: str
    hosts_without: int
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class NearFit:
    """Something near to what was asked that does fit, tried by the same code. `change` names what differs."""

    kind: str  # "fewer" | "flavor" | "zone"
    sentence: str
    change: Mapping[str, Any]


@dataclass(frozen=True)
class NoRoom:
    """No plan, and why: the counts are of the first ask that found no host, when `placed` others had found theirs.

    `proven`: no plan exists. False: the search was given up, which only batches of several roles can meet.
    """

    asked: int
    placed: int
    role: str
    reasons: tuple[Reason, ...]
    tightest: Tightest | None
    proven: bool
    nearest: tuple[NearFit, ...] = ()
