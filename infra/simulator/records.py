"""What a simulated datacenter holds, one record for each thing. `ref` names it and is never used twice.

Units stand in names. A change to a record counts once `State.put` has been told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Compute:
    """A vSphere cluster: hosts under one root pool."""

    ref: str
    name: str
    root_pool: str


@dataclass
class Host:
    ref: str
    name: str
    compute: str
    cpu_cores: int
    core_mhz: int
    memory_mib: int
    state: str = "up"  # up | maintenance | down
    labels: dict[str, str] = field(default_factory=dict)
    datastores: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)


@dataclass
class Datastore:
    """`others_gib` is used by somebody else: files that no VM here accounts for."""

    ref: str
    name: str
    kind: str
    capacity_gib: int
    others_gib: int = 0
    accessible: bool = True


@dataclass
class Network:
    ref: str
    name: str
    kind: str = "network"
    vlan: int = 0  # 0: untagged
    switch: str = ""  # that it was made on; "" for one that was there before
    key: str = ""  # of who made it
    rules: list[dict[str, object]] = field(default_factory=list)  # of its filter, in order


@dataclass
class Switch:
    """A virtual switch on which networks can be made, and the hosts that it reaches."""

    ref: str
    name: str
    hosts: list[str] = field(default_factory=list)


@dataclass
class Folder:
    ref: str
    name: str
    parent: str  # "" for the root of all VMs


@dataclass
class Pool:
    """-1 as a limit means no limit. The root pool of a compute resource has that as its parent."""

    ref: str
    name: str
    parent: str
    compute: str
    cpu_reserved_mhz: int = 0
    memory_reserved_mib: int = 0
    cpu_limit_mhz: int = -1
    memory_limit_mib: int = -1
    expandable: bool = True


@dataclass
class Template:
    """`version` is of the kubeadm in it; "" where it has none."""

    ref: str
    name: str
    folder: str
    vcpu: int
    memory_mib: int
    disk_gib: int
    datastore: str
    version: str = ""
    key: str = ""  # of who made it, as a copy of another; offered to nobody else
    library: str = ""  # the content library that it is an item of: copied first, and never cloned from


@dataclass
class Vm:
    """`key` is its instanceUuid. `machine` names its hardware, and so its guest: a VM made anew is another machine.

    `making`: its clone is on its way; it holds its name and its room, and cannot be found by key.
    """

    ref: str
    key: str
    name: str
    machine: str
    folder: str
    pool: str
    host: str
    datastore: str
    network: str
    vcpu: int
    memory_mib: int
    disk_gib: int
    extra: dict[str, str] = field(default_factory=dict)
    version: str = ""  # its template's
    power: str = "off"
    address: str = ""
    making: bool = False
    has_been_on: bool = False
    task: str = ""  # what is being done to it
    tools: bool = True  # its image carries the tools by which a guest is asked to shut down
    deaf: bool = False  # its guest is asked, and does nothing
    hot_add: bool = True  # vCPUs and memory may grow while it runs
    more_networks: list[str] = field(default_factory=list)  # of the cards beside the first
    more_addresses: list[str] = field(default_factory=list)  # that its guest has told, beside the first
    bare: bool = False  # nothing is on its disk: it runs, and boots nothing
    snapshots: list[dict[str, Any]] = field(default_factory=list)  # the oldest first, see moments
    of_drs: bool = False  # made in a pool with no host named: DRS chooses

    @property
    def networks(self) -> list[str]:
        """Of all its cards, in order."""
        return [self.network, *self.more_networks] if self.network else []

    @property
    def macs(self) -> list[str]:
        """Of its cards, in order: the machine's, so that a VM made anew has others."""
        whole = self.machine.replace("-", "")
        return [f"00:50:56:{whole[:2]}:{whole[2:4]}:{number:02x}" for number, _ in enumerate(self.networks)]


@dataclass
class Rule:
    """Keep these VMs apart; or, where it names hosts, on these. Its name is its ref. See drs.py for who acts on it."""

    ref: str
    vm_keys: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    must: bool = True


@dataclass
class Volume:
    """A disk with a life of its own. Its key is its ref; `vm` is the ref of who has it, "" for nobody."""

    ref: str
    name: str
    size_gib: int
    datastore: str
    vm: str = ""
    snapshots: list[str] = field(default_factory=list)  # keys, the oldest first


@dataclass
class Policy:
    """A kind of storage, by what its datastores are like: those that satisfy it."""

    ref: str
    name: str
    datastores: list[str] = field(default_factory=list)


@dataclass
class Task:
    """Something that takes its time. `doing` is a verb; times are seconds since the epoch, so a restart can go on.

    A move's `changes` name its target, and the room that it holds there while it runs.
    """

    ref: str
    doing: str
    vm: str
    begun: float
    ends: float
    changes: dict[str, object] = field(default_factory=dict)
    state: str = "running"  # running | succeeded | failed
    error_code: str = ""
    error_reason: str = ""


@dataclass
class Change:
    """The last thing that happened to `ref`, as number `seq` of all that ever happened."""

    ref: str
    kind: str  # host | datastore | vm
    seq: int
    gone: bool = False


KINDS = (Compute, Host, Datastore, Network, Switch, Folder, Pool, Template, Vm, Rule, Volume, Task, Change, Policy)
