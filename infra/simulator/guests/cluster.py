"""One Kubernetes cluster: its etcd members, its objects, and which of its guests answer for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

from infra.simulator.guests.api import authn
from infra.simulator.guests.api.message import Host
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.server import ApiServer
from infra.simulator.guests.api.store import Store
from infra.simulator.guests.controllers import nodes
from infra.simulator.guests.controllers.loop import Controllers
from infra.simulator.guests.disk import Disk, Member
from infra.simulator.guests.kubeadm import bootstrap


class Peer(Host, Protocol):
    """A guest, as its cluster sees it."""

    @property
    def serves(self) -> bool:
        """Are its API server and its etcd running?"""

    @property
    def kubelet_runs(self) -> bool: ...


class Cluster:
    """Objects live as long as one of the etcd members' disks."""

    def __init__(
        self, cluster_id: str, disk: Disk, guest: Callable[[str], Peer | None], now: Callable[[], float]
    ) -> None:
        self.id = cluster_id
        self.members: list[Member] = []
        self._disk = disk
        self._guest = guest  # by the machine's key
        self.store = Store(disk, cluster_id, now)
        self.controllers = Controllers(self.store, self._node_up)
        self.api = ApiServer(
            self.store, disk, serving=self.etcd_healthy, settle=self.controllers.settle, present=self._present
        )

    # etcd
    def etcd_members(self) -> list[Member]:
        return self.members

    def etcd_healthy(self) -> bool:
        """Does a majority of the members run?"""
        running = sum(
            1 for member in self.members if (guest := self._guest(member.machine)) is not None and guest.serves
        )
        return running * 2 > len(self.members)

    def member_address(self, member: Member) -> str:
        guest = self._guest(member.machine)
        return guest.address if guest is not None else "0.0.0.0"  # noqa: S104 a machine that is gone

    def add_member(self, name: str, machine: str) -> None:
        member = Member(self.id, str(secrets.randbits(63)), name, machine)
        self._disk.add_member(member)
        self.members.append(member)

    def remove_member(self, member_id: str) -> bool:
        for member in self.members:
            if member.id == member_id and len(self.members) > 1:
                self._disk.remove_member(member)
                self.members.remove(member)
                return True
        return False

    def lost(self) -> bool:
        """Has the last of its disks gone?"""
        return all(self._guest(member.machine) is None for member in self.members)

    # nodes
    def host(self) -> Peer | None:
        """A control plane that answers now; None where none does or etcd has no majority."""
        if not self.etcd_healthy():
            return None
        found = (self._guest(member.machine) for member in self.members)
        return next((guest for guest in found if guest is not None and guest.serves), None)

    def refresh(self) -> None:
        """A machine of the cluster has come or gone: bring Nodes and what rests on them up to date."""
        host = self.host()
        if host is not None:
            with self._disk.transaction():
                self.controllers.refresh_nodes()
                self.controllers.settle(host)

    def _node_up(self, node: Obj) -> bool:
        guest = self._guest(node["status"].get("nodeInfo", {}).get("systemUUID", ""))
        return guest is not None and guest.kubelet_runs

    def _present(self, resource: str, obj: Obj) -> Obj:
        if resource == "nodes":
            return nodes.present(obj, self.store.now())
        if resource == nodes.LEASES and obj["metadata"]["namespace"] == nodes.LEASED_IN:
            return nodes.present_lease(obj, self.store.get("nodes", "", obj["metadata"]["name"]), self.store.now())
        if resource == "configmaps" and obj["metadata"]["name"] == "cluster-info":
            return bootstrap.signed(obj, authn.live_tokens(self.store))
        return obj
