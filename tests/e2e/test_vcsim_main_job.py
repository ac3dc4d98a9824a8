"""The whole main job on the vCenter API, by the command lines that the README gives, looked up by plain pyVmomi."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from contextlib import contextmanager

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from tests.vcsim import run

from . import stack

PASSWORD = "a decent pass phrase"
QUOTA = "vcpu=64,memory=256GiB,storage=2TiB,vms=50,clusters=5,volumes=20,networks=5"
PROJECT_QUOTA = "vcpu=32,memory=128GiB,storage=1TiB,vms=20,clusters=2,volumes=5,networks=2"


@contextmanager
def guests(folder, vcsim, environ):
    """`manage.py simulate_guests` beside the vCenter; yields the network of its guests."""
    command = [sys.executable, str(stack.ROOT / "manage.py"), "simulate_guests", "--endpoint", vcsim.endpoint]
    command += ["--username", vcsim.username, "--password-stdin", "--ca-file", str(vcsim.ca_file)]
    command += ["--state", str(folder / "guests.sqlite")]
    with (folder / "guests.log").open("a") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder,
            env=environ | {"FACET_ALLOW_EPHEMERAL_KEY": "1"},
        )  # fmt: skip
    process.stdin.write(vcsim.password + "\n")
    process.stdin.close()
    try:
        line = process.stdout.readline()
        assert line.startswith("simulated guests of"), (folder / "guests.log").read_text()
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def looking(vcsim):
    """Plain pyVmomi, with verified TLS; nothing of our driver."""
    host, _, port = vcsim.address.partition(":")
    context = ssl.create_default_context(cadata=vcsim.ca_pem)
    si = SmartConnect(host=host, port=int(port), user=vcsim.username, pwd=vcsim.password, sslContext=context)
    try:
        yield si.RetrieveContent()
    finally:
        Disconnect(si)


def named(content, kind):
    """Objects by name. vcsim's views keep refs of what is destroyed (a real vCenter's do not): those are left out."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    found = {}
    for one in view.view:
        try:
            found[one.name] = one
        except vmodl.fault.ManagedObjectNotFound:
            continue
    view.Destroy()
    return found


def carve(world, vcsim, prefix):
    """IT's lines and ada's, down to the token of the service account."""
    it = world.admin()
    site = ["site", "add", "dc1", "--driver", "vsphere", "--endpoint", vcsim.endpoint, "--username", vcsim.username]
    ca = ["--password-stdin", "--ca-file", str(vcsim.ca_file), "--wait"]
    world.facet(*site, *ca, stdin=vcsim.password + "\n", token=it)
    zone = ["zone", "create", "az1", "--site", "dc1", "--vsphere-cluster", "DC0_C0", "--datastore", "LocalDS_0"]
    more = ["--network", "VM Network", "--endpoint-range", f"{prefix}.0.10-{prefix}.0.250", "--wait"]
    world.facet(*zone, *more, token=it)
    image = ["image", "add", "kube-v1.34", "--site", "dc1", "--template", "DC0_C0_RP0_VM0"]
    world.facet(*image, "--framework", "kubernetes", "--version", "v1.34.2", token=it)
    addon = ["addon", "import", "facet-cni", "--kind", "cni", "--version", "v1"]
    world.facet(*addon, "--file", str(stack.ROOT / "docs/examples/facet-cni.yaml"), token=it)
    world.facet("tenant", "create", "acme", "--quota", QUOTA, token=it)
    pool = ["pool", "create", "--tenant", "acme", "--zone", "az1", "--model", "flex"]
    room = ["--reserved", "vcpu=8,memory=32GiB", "--limit", "vcpu=64,memory=256GiB", "--wait"]
    world.facet(*pool, *room, token=it)
    world.facet("user", "create", "ada", "--password-stdin", stdin=PASSWORD + "\n", token=it)
    world.facet("member", "add", "ada", "--tenant", "acme", "--role", "tenant-admin", token=it)
    ada = world.login("ada", PASSWORD)
    world.facet("project", "create", "web", "--tenant", "acme", "--quota", PROJECT_QUOTA, token=ada)
    world.facet("service-account", "create", "ci", "--project", "acme/web", "--role", "project-editor", token=ada)
    issued = world.facet("token", "create", "--service-account", "acme/web/ci", "-o", "json", token=ada)
    return json.loads(issued.stdout)["token"]


def kubectl(config, *words):
    program = os.path.join(os.path.dirname(sys.executable), "kubectl")
    return subprocess.run(
        [program, "--kubeconfig", str(config), *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def vcsim(tmp_path):
    with run.running(tmp_path) as found:
        yield found


def test_the_main_job_on_a_vcenter(tmp_path, vcsim):
    with stack.running(tmp_path) as world, guests(tmp_path, vcsim, world.environ) as network:
        prefix = ".".join(network.split(".")[:2])
        ci = carve(world, vcsim, prefix)
        shop = ["cluster", "create", "shop", "--project", "acme/web", "--zone", "az1", "--control-planes", "1"]
        world.facet(*shop, "--workers", "3", "--wait", token=ci)
        config = tmp_path / "shop.yaml"
        config.write_text(world.facet("cluster", "kubeconfig", "shop", "--project", "acme/web", token=ci).stdout)
        listed = kubectl(config, "get", "nodes")
        assert listed.stdout.count(" Ready ") == 4, listed.stdout + listed.stderr
        names = {line.split()[0] for line in listed.stdout.splitlines()[1:]}

        with looking(vcsim) as content:
            vms = {name: vm for name, vm in named(content, vim.VirtualMachine).items() if name.startswith("shop-")}
            assert set(vms) == names
            assert all(vm.runtime.powerState == "poweredOn" for vm in vms.values())
            assert {vm.config.hardware.memoryMB for vm in vms.values()} == {2048}
            assert {vm.parent.name.split(" ")[0] for vm in vms.values()} == {"web"}
            pools = named(content, vim.ResourcePool)
            mine = [pool for name, pool in pools.items() if name.startswith("az1") or name.startswith("acme")]
            assert mine, sorted(pools)
            assert any(pool.config.memoryAllocation.reservation == 32 * 1024 for pool in pools.values())
            secrets = {c.key: c.value for vm in vms.values() for c in vm.config.extraConfig if "userdata" in c.key}
            assert not any(value and value != "---" for value in secrets.values()), "boot data is still there"

        world.facet("cluster", "scale", "shop", "--project", "acme/web", "--workers", "5", "--wait", token=ci)
        assert kubectl(config, "get", "nodes").stdout.count(" Ready ") == 6
        world.facet("cluster", "delete", "shop", "--project", "acme/web", "--yes", "--wait", token=ci)
        with looking(vcsim) as content:
            assert not [name for name in named(content, vim.VirtualMachine) if name.startswith("shop-")]
        stack.until(lambda: kubectl(config, "get", "nodes", "--request-timeout=3s").returncode, patience_s=30)
        operations = stack.documents(world.facet("operation", "list", "-o", "json", token=ci))["items"]
        assert {op["phase"] for op in operations if op["target"]["kind"] == "cluster"} == {"succeeded"}
        events = stack.documents(world.facet("event", "list", "-o", "json", token=ci))["items"]
        assert "cluster.delete.succeeded" in {event["verb"] for event in events}
        held = world.sql("select count(*) from scheduler_allocation where released is null")
        assert held == [(0,)]
        log = "".join(path.read_text(errors="replace") for path in world.home.logs.glob("*.log"))
        assert vcsim.password not in log
