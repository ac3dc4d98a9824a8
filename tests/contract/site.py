"""What the contract suite asks of a site that it runs against, beside the driver itself.

A module `<name>_site.py` gives `running(folder) -> ContextManager[Site]`. The suite reaches the site in two ways:
through the driver under test, and by hand, as a person at the site would, so that the driver is never its own witness.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from infra.drivers.base import Connection, PolicyFacts


class ByHand(Protocol):
    """Acts and looks at the site that do not go through the driver under test."""

    def writes(self) -> int:
        """How many calls that change something the site has taken since it began, whoever made them."""

    def vm_names(self, folder_ref: str) -> list[str]:
        """The names of all VMs in a folder, sorted, also those whose clone is not finished."""

    def extra_config(self, key: UUID) -> Mapping[str, str]:
        """A VM's extraConfig; a key whose value is empty is left out."""

    def make_vm(self, name: str, folder_ref: str, pool_ref: str, host_ref: str, datastore_ref: str) -> str:
        """A VM of somebody else's, powered off; its ref."""

    def delete_vm(self, key: UUID) -> None: ...

    def power_off(self, key: UUID) -> None: ...

    def guest(self, key: UUID, *, tools: bool = True, deaf: bool = False, hot_add: bool = False) -> None:
        """Whether tools run in a VM's guest, it never ends to shut down, it takes a larger size while it runs."""

    def snapshot(self, key: UUID, name: str) -> None:
        """A snapshot of somebody else's."""

    def library_item(self, name: str, library: str = "golden") -> str:
        """An item of a content library; its ref."""

    def fail_image(self, name: str) -> None:
        """The next copy of a template to this name finds no room on its datastore, once."""

    def fail_snapshot(self, key: UUID) -> None:
        """The next snapshot of this VM ends in a fault of the site's own, once."""

    def make_network(self, name: str) -> str:
        """A network of somebody else's that all hosts of the suite reach; its ref."""

    def strange_network(self, name: str, vlan: int, switch_ref: str) -> None:
        """A network of somebody else's on a switch, under this tag."""

    def made_networks(self) -> dict[int, str]:
        """Tag -> name, of the networks that were made on a switch."""

    def change_network(self, vlan: int, *, to: int, name: str) -> None:
        """Give the network of a tag another tag and another name."""

    def lose_network(self, vlan: int) -> None:
        """Remove the network of a tag."""

    def networks_of(self, key: UUID) -> list[str]:
        """The refs of the networks that a VM's cards lead to, in the order of the cards."""

    def tell_addresses(self, key: UUID, addresses: list[str]) -> None:
        """What the tools in the guest of a running VM tell from now on."""

    def rename_vm(self, key: UUID, name: str) -> None: ...

    def fail_clone(self, name: str) -> None:
        """The next clone to a VM of this name ends in a fault of the site's own, once."""

    def clones_take(self, seconds: float) -> AbstractContextManager[None]:
        """While it is entered, a clone stays in flight this long."""

    def fail_move(self, key: UUID) -> None:
        """The next move of this VM ends in a fault of the site's own, once."""

    def moves_take(self, seconds: float) -> AbstractContextManager[None]:
        """While it is entered, a move stays in flight this long."""

    def satisfied_by(self, policy: PolicyFacts, datastores: list[str]) -> None:
        """From now on these datastores satisfy a storage policy, by their names, and no others."""

    def lacks(self, privileges: list[str]) -> None:
        """From now on the user lacks these privileges, and no others."""

    def maintenance(self, host_ref: str) -> AbstractContextManager[None]:
        """While it is entered, a host is in maintenance; what stands there stays."""

    def unmounted(self, host_ref: str, datastore_ref: str) -> AbstractContextManager[None]:
        """While it is entered, a host does not reach a datastore."""


@dataclass(frozen=True)
class Site:
    """One running site. The names say which of its objects the suite uses; all of them exist from the start."""

    kind: str
    connection: Connection
    by_hand: ByHand
    vsphere_cluster: str
    datastore: str
    network: str
    template: str  # with a disk of at least 2 GiB
    simulated: bool
    other_datastore: str = ""  # reached by all hosts; the suite needs it
