"""A vCenter for the contract suite: vcsim behind our front end, and plain pyVmomi as the hand at the site."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import VmomiSupport, vim

from infra.drivers.base import Connection, PolicyFacts
from tests.vcsim import run
from tests.vcsim.run import Vcsim

from .site import Site

_CARDS = VmomiSupport.GetVmodlType("vim.vm.GuestInfo.NicInfo[]")


class VcenterByHand:
    """A person with another client."""

    def __init__(self, vcsim: Vcsim) -> None:
        self.program = vcsim
        host, _, port = vcsim.address.partition(":")
        context = ssl.create_default_context(cadata=vcsim.ca_pem)
        self.si = SmartConnect(host=host, port=int(port), user=vcsim.username, pwd=vcsim.password, sslContext=context)
        self.content = self.si.RetrieveContent()

    def writes(self) -> int:
        return int(self.program.admin("GET", "calls")["writes"])

    def vm_names(self, folder_ref: str) -> list[str]:
        made = [
            one.name for one in self._object(vim.Folder, folder_ref).childEntity if isinstance(one, vim.VirtualMachine)
        ]
        keys = [key.split("/", 1) for key in self.program.admin("GET", "calls")["in_flight"]]
        return sorted(made + [name for folder, name in keys if folder == folder_ref])

    def extra_config(self, key: UUID) -> Mapping[str, str]:
        return {one.key: one.value for one in self._vm(key).config.extraConfig if one.value}

    def make_vm(self, name: str, folder_ref: str, pool_ref: str, host_ref: str, datastore_ref: str) -> str:
        store = self._object(vim.Datastore, datastore_ref).name
        spec = vim.vm.ConfigSpec(
            name=name,
            guestId="otherGuest",
            numCPUs=1,
            memoryMB=512,
            files=vim.vm.FileInfo(vmPathName=f"[{store}]"),
        )
        task = self._object(vim.Folder, folder_ref).CreateVM_Task(
            config=spec, pool=self._object(vim.ResourcePool, pool_ref), host=self._object(vim.HostSystem, host_ref)
        )
        WaitForTask(task, self.si)
        return str(task.info.result._moId)

    def delete_vm(self, key: UUID) -> None:
        vm = self._vm(key)
        if vm.runtime.powerState != "poweredOff":
            WaitForTask(vm.PowerOffVM_Task(), self.si)
        WaitForTask(vm.Destroy_Task(), self.si)

    def power_off(self, key: UUID) -> None:
        WaitForTask(self._vm(key).PowerOffVM_Task(), self.si)

    def guest(self, key: UUID, *, tools: bool = True, deaf: bool = False, hot_add: bool = False) -> None:
        """vcsim's guests have no tools: it is told what they would say, and our front end what a guest does."""
        status = "guestToolsRunning" if tools else "guestToolsNotRunning"
        said = {
            "SET.guest.toolsRunningStatus": status,
            "SET.guest.guestState": "running",
            "vcsim.deaf": "yes" if deaf else "",
        }
        edit = vim.vm.ConfigSpec(
            cpuHotAddEnabled=hot_add,
            memoryHotAddEnabled=hot_add,
            extraConfig=[vim.option.OptionValue(key=name, value=value) for name, value in said.items()],
        )
        WaitForTask(self._vm(key).ReconfigVM_Task(spec=edit), self.si)

    def snapshot(self, key: UUID, name: str) -> None:
        task = self._vm(key).CreateSnapshot_Task(name=name, description="by hand", memory=False, quiesce=False)
        WaitForTask(task, self.si)

    def library_item(self, name: str, library: str = "golden") -> str:
        """vcsim keeps libraries and items; what is deployed of one is our front end's (tests/vcsim/library.go)."""
        with self.rest() as rest:
            path = "/rest/com/vmware/content/local-library"
            store = self.content.rootFolder.childEntity[0].datastore[0]._moId
            backing = {"type": "DATASTORE", "datastore_id": store}
            wanted = {"name": library, "type": "LOCAL", "storage_backings": [backing]}
            known = {
                id: rest.get(f"{path}/id:{id}").json()["value"]["name"] for id in rest.get(path).json()["value"] or ()
            }
            ids = [id for id, called in known.items() if called == library]
            id = ids[0] if ids else rest.post(path, json={"create_spec": wanted}).raise_for_status().json()["value"]
            item = {"library_id": id, "name": name, "type": "ovf"}
            made = rest.post("/rest/com/vmware/content/library/item", json={"create_spec": item}).raise_for_status()
            return f"library-item:{made.json()['value']}"

    @contextmanager
    def rest(self) -> Iterator[httpx.Client]:
        """A session at vCenter's REST services."""
        context = ssl.create_default_context(cadata=self.program.ca_pem)
        with httpx.Client(base_url=f"https://{self.program.address}", verify=context) as client:
            who = (self.program.username, self.program.password)
            token = client.post("/rest/com/vmware/cis/session", auth=who).raise_for_status().json()["value"]
            client.headers["vmware-api-session-id"] = token
            yield client

    def fail_image(self, name: str) -> None:
        self.program.inject("CloneVM_Task", "NoDiskSpace", kind="task", match=name)

    def fail_snapshot(self, key: UUID) -> None:
        match = f">{self._vm(key)._moId}<"
        self.program.inject("CreateSnapshot_Task", "NoDiskSpace", kind="task", match=match)

    def make_network(self, name: str) -> str:
        """A distributed port group of the one switch that there is."""
        switch = self.content.searchIndex.FindByInventoryPath("/DC0/network/DVS0")
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name, type="earlyBinding", numPorts=8)
        WaitForTask(switch.AddDVPortgroup_Task([spec]), self.si)
        made = next(one for one in switch.portgroup if one.name == name)
        return f"DistributedVirtualPortgroup:{made._moId}"

    def strange_network(self, name: str, vlan: int, switch_ref: str) -> None:
        kind = vim.dvs.VmwareDistributedVirtualSwitch
        setting = kind.VmwarePortConfigPolicy(vlan=kind.VlanIdSpec(vlanId=vlan))
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=name, type="earlyBinding", numPorts=8, defaultPortConfig=setting
        )
        WaitForTask(self._object(vim.DistributedVirtualSwitch, switch_ref).AddDVPortgroup_Task([spec]), self.si)

    def made_networks(self) -> dict[int, str]:
        """By their configuration: vcsim renames a port group there, and not where its own name stands."""
        return {tag: group.config.name for tag, group in self._tagged().items()}

    def change_network(self, vlan: int, *, to: int, name: str) -> None:
        group = self._tagged()[vlan]
        known = group.config
        known.defaultPortConfig.vlan.vlanId = to
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=name, description=known.description, type=known.type, numPorts=known.numPorts,
            defaultPortConfig=known.defaultPortConfig,
        )  # fmt: skip
        WaitForTask(group.ReconfigureDVPortgroup_Task(spec), self.si)

    def lose_network(self, vlan: int) -> None:
        WaitForTask(self._tagged()[vlan].Destroy_Task(), self.si)

    def _tagged(self) -> dict[int, Any]:
        switch = self.content.searchIndex.FindByInventoryPath("/DC0/network/DVS0")
        tags = {group: group.config.defaultPortConfig.vlan for group in switch.portgroup}
        kind = vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec
        return {vlan.vlanId: group for group, vlan in tags.items() if isinstance(vlan, kind) and vlan.vlanId}

    def networks_of(self, key: UUID) -> list[str]:
        card = vim.vm.device.VirtualEthernetCard
        found = [one for one in self._vm(key).config.hardware.device if isinstance(one, card)]
        return [
            f"DistributedVirtualPortgroup:{one.backing.port.portgroupKey}"
            if isinstance(one.backing, card.DistributedVirtualPortBackingInfo)
            else str(one.backing.network._moId)
            for one in sorted(found, key=lambda one: one.key)
        ]

    def tell_addresses(self, key: UUID, addresses: list[str]) -> None:
        cards = _CARDS([vim.vm.GuestInfo.NicInfo(ipAddress=addresses, connected=True, deviceConfigId=4000)])
        told = {"SET.guest.ipAddress": addresses[0], "SET.guest.net": cards}
        values = [vim.option.OptionValue(key=name, value=value) for name, value in told.items()]
        WaitForTask(self._vm(key).ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=values)), self.si)

    def rename_vm(self, key: UUID, name: str) -> None:
        WaitForTask(self._vm(key).Rename_Task(name), self.si)

    def fail_clone(self, name: str) -> None:
        self.program.inject("CloneVM_Task", "InsufficientResourcesFault", kind="task", match=name)

    def clones_take(self, seconds: float) -> AbstractContextManager[None]:
        return self.program.clones_take(seconds)

    def fail_move(self, key: UUID) -> None:
        match = f">{self._vm(key)._moId}<"
        self.program.inject("RelocateVM_Task", "InsufficientResourcesFault", kind="task", match=match)

    def moves_take(self, seconds: float) -> AbstractContextManager[None]:
        return self.program.moves_take(seconds)

    def satisfied_by(self, policy: PolicyFacts, datastores: list[str]) -> None:
        """vcsim says that every datastore satisfies every policy: our front end is told what a vCenter would find."""
        self.program.admin("POST", "policy", name=policy.ref, names=datastores)

    def lacks(self, privileges: list[str]) -> None:
        """vcsim grants everything to everybody, and enforces nothing: our front end answers who asks."""
        self.program.admin("POST", "privileges", names=privileges)

    @contextmanager
    def maintenance(self, host_ref: str) -> Iterator[None]:
        host = self._object(vim.HostSystem, host_ref)
        WaitForTask(host.EnterMaintenanceMode_Task(timeout=0), self.si)
        try:
            yield
        finally:
            WaitForTask(host.ExitMaintenanceMode_Task(timeout=0), self.si)

    @contextmanager
    def unmounted(self, host_ref: str, datastore_ref: str) -> Iterator[None]:
        host, store = self._object(vim.HostSystem, host_ref).name, self._object(vim.Datastore, datastore_ref).name
        self.program.admin("POST", "mount", name=host, datastore=store, mounted=False)
        try:
            yield
        finally:
            self.program.admin("POST", "mount", name=host, datastore=store, mounted=True)

    def _object(self, kind: Any, ref: str) -> Any:
        return kind(ref, self.si._stub)

    def _vm(self, key: UUID) -> Any:
        vm = self.content.searchIndex.FindByUuid(uuid=str(key), vmSearch=True, instanceUuid=True)
        assert vm is not None, f"no VM bears the key {key}"
        return vm


@contextmanager
def running(folder: Path, *flags: str) -> Iterator[Site]:
    with run.running(folder, "-hosts", "4", "-datastores", "2", *flags) as vcsim:
        by_hand = VcenterByHand(vcsim)
        connection = Connection(
            driver="vsphere",
            endpoint=vcsim.endpoint,
            username=vcsim.username,
            password=vcsim.password,
            ca_pem=vcsim.ca_pem,
            installation="contract",
        )
        yield Site(
            kind="vsphere",
            connection=connection,
            by_hand=by_hand,
            vsphere_cluster="DC0_C0",
            datastore="LocalDS_0",
            other_datastore="LocalDS_1",
            network="VM Network",
            template="DC0_C0_RP0_VM0",
            simulated=True,
        )
        Disconnect(by_hand.si)
