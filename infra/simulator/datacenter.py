"""One simulated datacenter: its state, its tasks, its guests, and what may be asked of it.

Lives in one asyncio event loop. A verb decides and writes without awaiting anything; then the guests are told.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.drivers.base import Refused

from . import documents
from .faults import Fault, Faults
from .guesthouse import Guesthouse
from .guests.house import House
from .hand import Hand
from .images import Images
from .lifecycle import Lifecycle
from .machines import Machines
from .networks import Networks
from .places import Places
from .records import Template, Vm
from .rights import Rights
from .seed import seed
from .snapshots import Snapshots
from .state import State
from .tasks import KEPT_S, Tasks
from .volumes import Volumes

PRODUCT, VERSION = "Facet datacenter simulator", "1"
LONGEST_WAIT_S = 60.0
Document = dict[str, Any]


class HomeTaken(Exception):
    """Another process runs the datacenter of this home."""


class Datacenter:
    """`verbs` and `hand` say what may be asked: name -> function of the request's fields, answering a document."""

    def __init__(
        self,
        home: Path,
        *,
        network: str | None = None,
        racks: int = 3,
        hosts_per_rack: int = 8,
        latency: Mapping[str, float] | None = None,
        boot_s: float = 0.0,
        tasks_kept_s: float = KEPT_S,
    ) -> None:
        """Raises HomeTaken."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(home)
        self._house = House(home / "guests.sqlite", network, boot_s)
        self.state = State(home / "datacenter.sqlite")
        seed(self.state, racks, hosts_per_rack)
        self.faults = Faults(latency)
        self.guests = Guesthouse(self.state, self._house)
        self.tasks = Tasks(self.state, self.faults, self.guests, tasks_kept_s)
        self.rights = Rights()
        self.calls: Counter[str] = Counter()
        machines, places = Machines(self.state, self.faults, self.tasks), Places(self.state, self.faults)
        lifecycle = Lifecycle(self.state, self.faults, self.tasks)
        images = Images(self.state, self.faults, self.tasks)
        snapshots = Snapshots(self.state, self.faults, self.tasks)
        networks = Networks(self.state, self.faults)
        volumes = Volumes(self.state, self.faults, self.tasks)
        self.verbs: Mapping[str, Callable[..., Document]] = {
            "about": self._about,
            "inventory": self._inventory,
            "changes": self._changes,
            "poll": self._poll,
            "console": self._console,
            "find": machines.find,
            "clone": machines.clone,
            "reconfigure": machines.reconfigure,
            "guestinfo": machines.guestinfo,
            "power": machines.power,
            "move": machines.move,
            "destroy": machines.destroy,
            "shut_down": lifecycle.shut_down,
            "resize": lifecycle.resize,
            "rename": lifecycle.rename,
            "image": images.ensure,
            "no_image": images.remove,
            "snapshots": snapshots.snapshots,
            "snapshot": snapshots.snapshot,
            "no_snapshot": snapshots.no_snapshot,
            "revert": snapshots.revert,
            "folder": places.folder,
            "no_folder": places.no_folder,
            "pool": places.pool,
            "no_pool": places.no_pool,
            "rule": places.rule,
            "no_rule": places.no_rule,
            "rules": places.rules,
            "switches": networks.switches,
            "network": networks.ensure,
            "no_network": networks.remove,
            "firewall": networks.ensure_firewall,
            "firewall_of": networks.firewall,
            "volumes": volumes.find,
            "volume": volumes.ensure,
            "no_volume": volumes.remove,
            "attach": volumes.attach,
            "detach": volumes.detach,
            "release": volumes.release,
            "volume_snapshot": volumes.snapshot,
            "no_volume_snapshot": volumes.no_snapshot,
            "policies": self._policies,
            "privileges": self.rights.missing,
        }
        hand = Hand(self.state, self.guests)
        self.hand: Mapping[str, Callable[..., Document]] = {
            "calls": self._calls,
            "faults": self._faults,
            "fault": self._fault,
            "clear-faults": self._clear_faults,
            "latency": self._latency,
            "privileges": self.rights.take,
            "forget-tasks": lambda: {"forgotten": self.tasks.forget()},
            "folder": hand.folder,
            "vm": hand.vm,
            "host": hand.host,
            "datastore": hand.datastore,
            "network": hand.network,
            "strange-network": hand.strange_network,
            "lose-network": hand.lose_network,
            "change-network": hand.change_network,
            "policy": hand.policy,
            "template": hand.template,
            "make-vm": hand.make_vm,
            "delete-vm": hand.delete_vm,
            "power-vm": hand.power_vm,
            "rename-vm": hand.rename_vm,
            "resize-vm": hand.resize_vm,
            "guest": hand.guest,
            "snapshot-vm": hand.snapshot_vm,
            "move-vm": hand.move_vm,
            "lose-everything": hand.lose_everything,
        }

    async def start(self) -> None:
        """Take the guests' network (raises AddressesTaken), and go on where the last process ended."""
        await self._house.start()
        await self.guests.start()
        self.tasks.start()

    async def stop(self) -> None:
        """Leave everything as it is for the next start."""
        self.tasks.stop()
        self.guests.stop()
        await self._house.stop()
        self.state.close()
        os.close(self._lock)

    async def ask(self, verb: str, request: Document) -> Document:
        """A client's call. Raises DriverError; KeyError and TypeError for a request that makes no sense."""
        act = self.verbs[verb]
        self.calls[verb] += 1
        await self.faults.before(verb)
        self.rights.check(verb)
        if verb == "changes":
            await self._wait(request)
        answer = act(**request)
        await self.guests.carry_out()
        await self.faults.after(verb)
        return answer

    async def by_hand(self, act: str, request: Document) -> Document:
        """Somebody's act at the site itself."""
        answer = self.hand[act](**request)
        await self.guests.carry_out()
        return answer

    # --- looking ---------------------------------------------------------------------------------------------------

    def _about(self) -> Document:
        return {
            "product": PRODUCT,
            "version": VERSION,
            "instance_id": self.state.instance,
            "address_network": self.guests.network,
        }

    def _inventory(self) -> Document:
        state = self.state
        vms = [vm for vm in state.vms.values() if not vm.making]
        templates = [one for one in state.templates.values() if not one.key]
        sources: list[Template | Vm] = [*templates, *(vm for vm in vms if not documents.witness(vm))]
        return {
            "hosts": [documents.host(state, one) for one in state.hosts.values()],
            "datastores": [documents.datastore(state, one) for one in state.datastores.values()],
            "networks": [documents.network(one) for one in state.networks.values()],
            "templates": [documents.template(state, one) for one in sources],
            "vms": [documents.vm(vm) for vm in vms],
            "cursor": state.feed.cursor,
        }

    async def _wait(self, request: Document) -> None:
        feed, cursor = self.state.feed, str(request.get("cursor", ""))
        wait_s = min(max(float(request.get("wait_s", 0)), 0.0), LONGEST_WAIT_S)
        if wait_s:
            await feed.wait(cursor, wait_s)

    def _changes(self, cursor: str, wait_s: float) -> Document:
        found = self.state.feed.since(cursor)
        if found is None:
            return {"cursor": cursor, "resync": True}
        state = self.state
        new, changes = found
        there = [change for change in changes if not change.gone]
        return {
            "cursor": new,
            "resync": False,
            "hosts": [documents.host(state, state.hosts[one.ref]) for one in there if one.kind == "host"],
            "datastores": [
                documents.datastore(state, state.datastores[one.ref]) for one in there if one.kind == "datastore"
            ],
            "vms": [documents.vm(state.vms[one.ref]) for one in there if one.kind == "vm"],
            "gone_refs": [change.ref for change in changes if change.gone],
        }

    def _poll(self, refs: Iterable[str]) -> Document:
        """Only of tasks that are still known."""
        found = ((ref, self.tasks.look(ref)) for ref in refs)
        return {ref: documents.task(task) for ref, task in found if task is not None}

    def _policies(self) -> Document:
        return {"policies": [documents.policy(one) for one in self.state.policies.values()]}

    def _console(self, key: str) -> Document:
        vm: Vm | None = self.state.vm(key)
        if vm is None:
            raise Refused(f"There is no VM with the key {key}.", code="not_found")
        return {"text": self.guests.console_log(vm)}

    # --- by hand ---------------------------------------------------------------------------------------------------

    def _calls(self) -> Document:
        return {"calls": dict(self.calls), "writes": self.state.writes}

    def _faults(self) -> Document:
        return {"faults": self.faults.listed()}

    def _fault(self, **fault: Any) -> Document:
        self.faults.add(Fault(**fault))
        return {}

    def _clear_faults(self) -> Document:
        self.faults.clear()
        return {}

    def _latency(self, **seconds: float) -> Document:
        """Set the latency of these verbs; answers that of all that have one."""
        self.faults.set_latency(seconds)
        return {"latency": dict(self.faults.latency)}


def _lock(home: Path) -> int:
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise HomeTaken(f"Another process runs the datacenter of {home}.") from None
    return descriptor
