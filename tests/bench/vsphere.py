"""50 nodes on a vCenter: our driver beside a bare pyVmomi program that makes the same calls, eight at a time.

`python -m tests.bench.vsphere` prints the rows; both run on one simulated vCenter, alternating.
"""

from __future__ import annotations

import json
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyVim.connect import SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from infra.drivers.base import Connection, FolderSpec, InFlight, NotReady, PoolPart, PoolSpec, Power, VmFacts, VmSpec
from infra.drivers.extraconfig import USERDATA, packed
from infra.drivers.vsphere.driver import VsphereDriver
from tests.bench.programs import sync, vm_requests
from tests.vcsim import run

NODES, AT_ONCE, TURNS = 50, 8, 3
POLL_S = 0.1
BOOT_DATA = "#cloud-config\n" + "# a line of user-data as a node gets it\n" * 100


def rows(nodes: int = NODES, turns: int = TURNS) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, run.running(Path(folder)) as vcsim:
        driver = VsphereDriver(
            Connection("vsphere", vcsim.endpoint, vcsim.username, vcsim.password, vcsim.ca_pem, "bench")
        )
        bare = Bare(vcsim)
        ours_s, bare_s = [], []
        for _ in range(turns):
            ours_s.append(_timed(lambda: through_the_driver(driver, _specs(driver, nodes))))
            bare_s.append(_timed(lambda: bare.make(_specs(driver, nodes))))
        before = sum(vcsim.calls().values())
        through_the_driver(driver, _specs(driver, nodes))
        calls = (sum(vcsim.calls().values()) - before) / nodes
        driver.close()
    ours, peer = statistics.median(ours_s), statistics.median(bare_s)
    return [
        *sync.rows(),
        *vm_requests.rows(bare_request),
        {
            "name": f"vsphere.vm_phase_s.nodes{nodes}",
            "value": round(ours, 3),
            "unit": "s",
            "peer": "bare pyvmomi",
            "peer_value": round(peer, 3),
            "ratio": round(ours / peer, 2),
            "aim": "ratio <= 1.5",
            "met": ours / peer <= 1.5,
        },
        {
            "name": f"vsphere.calls_per_vm.nodes{nodes}",
            "value": round(calls, 2),
            "unit": "calls",
            "aim": "value <= 8",
            "met": calls <= 8,
        },
    ]


def bare_request(vcsim: run.Vcsim, at_once: int, nodes: int) -> Callable[[], None]:
    """The bare program on this vCenter, logged in, with its places made and everything looked up."""
    driver = VsphereDriver(Connection("vsphere", vcsim.endpoint, vcsim.username, vcsim.password, vcsim.ca_pem, "bare"))
    specs = _specs(driver, nodes)
    driver.close()
    bare = Bare(vcsim, at_once)
    return lambda: bare.make(specs)


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _specs(driver: VsphereDriver, nodes: int) -> list[VmSpec]:
    seen = driver.inventory()
    hosts = [host for host in seen.hosts if host.vsphere_cluster]
    template = next(one for one in seen.templates if one.name == "DC0_C0_RP0_VM0")
    folder = driver.ensure_folder(FolderSpec(uuid4(), "bench", None))
    pool = driver.ensure_pool(PoolSpec(uuid4(), "bench", (PoolPart(hosts[0].compute_ref, None),)))
    network = next(net for net in seen.networks if net.name == "VM Network")
    return [
        VmSpec(
            key=uuid4(),
            name=f"node-{number}",
            template_ref=template.ref,
            folder_ref=folder,
            pool_ref=pool[hosts[0].compute_ref],
            host_ref=hosts[number % len(hosts)].ref,
            datastore_ref=seen.datastores[0].ref,
            network_ref=network.ref,
            vcpu=2,
            memory_mib=4096,
            disk_gib=20,
            metadata=f"instance-id: {number}\n",
        )
        for number in range(nodes)
    ]


def through_the_driver(driver: VsphereDriver, specs: Sequence[VmSpec]) -> None:
    keys = [spec.key for spec in specs]
    _settle(lambda: driver.ensure_vms(specs))
    assert all(error is None for error in driver.ensure_boot_data(dict.fromkeys(keys, BOOT_DATA)).values())
    _settle(lambda: driver.ensure_power(dict.fromkeys(keys, Power.ON)))


def _settle(ask: Any) -> None:
    while True:
        outcomes = ask().values()
        if all(isinstance(outcome, VmFacts) for outcome in outcomes):
            return
        for outcome in outcomes:
            if not isinstance(outcome, VmFacts | InFlight | NotReady):
                raise outcome


class Bare:
    """What somebody would write who has only this one job."""

    def __init__(self, vcsim: run.Vcsim, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        host, _, port = vcsim.address.partition(":")
        context = ssl.create_default_context(cadata=vcsim.ca_pem)
        self._si = SmartConnect(host=host, port=int(port), user=vcsim.username, pwd=vcsim.password, sslContext=context)

    def _wait(self, task: Any) -> None:
        """pyVim's own wait cannot name a task of vcsim's front that is still at work: that one is asked after."""
        while task.info.state not in ("success", "error"):
            time.sleep(POLL_S)
        if task.info.error is not None:
            raise task.info.error

    def make(self, specs: Sequence[VmSpec]) -> None:
        with ThreadPoolExecutor(self._at_once) as threads:
            list(threads.map(self._make, specs))

    def _make(self, spec: VmSpec) -> None:
        stub = self._si._stub
        place = vim.vm.RelocateSpec(
            host=vim.HostSystem(spec.host_ref, stub),
            datastore=vim.Datastore(spec.datastore_ref, stub),
            pool=vim.ResourcePool(spec.pool_ref, stub),
        )
        clone = vim.vm.CloneSpec(location=place, config=vim.vm.ConfigSpec(instanceUuid=str(spec.key)))
        template = vim.VirtualMachine(spec.template_ref, stub)
        task = template.CloneVM_Task(folder=vim.Folder(spec.folder_ref, stub), name=spec.name, spec=clone)
        self._wait(task)
        vm = task.info.result
        WaitForTask(vm.RelocateVM_Task(vim.vm.RelocateSpec(host=place.host)), self._si)
        devices = vm.config.hardware.device
        disk = next(one for one in devices if isinstance(one, vim.vm.device.VirtualDisk))
        disk.capacityInBytes, disk.capacityInKB = spec.disk_gib << 30, spec.disk_gib << 20
        card = next(one for one in devices if isinstance(one, vim.vm.device.VirtualEthernetCard))
        card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(
            deviceName="VM Network", network=vim.Network(spec.network_ref, stub)
        )
        changes = [vim.vm.device.VirtualDeviceSpec(operation="edit", device=one) for one in (disk, card)]
        size = vim.vm.ConfigSpec(numCPUs=spec.vcpu, memoryMB=spec.memory_mib, deviceChange=changes)
        WaitForTask(vm.ReconfigVM_Task(size), self._si)
        values = packed("guestinfo.metadata", spec.metadata) | packed(USERDATA, BOOT_DATA)
        extra = [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]
        WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=extra)), self._si)
        WaitForTask(vm.PowerOnVM_Task(), self._si)


if __name__ == "__main__":
    for row in rows():
        print(json.dumps(row))
