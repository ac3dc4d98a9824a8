"""`manage.py simulate_guests` as a person starts it: a process beside a vCenter."""

from __future__ import annotations

import os
import random
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from infra.drivers.base import Power
from tests.contract.room import until
from tests.unit.guests.userdata import Cluster

ROOT = Path(__file__).parents[3]
USER_DATA = "#cloud-config\nruncmd:\n  - mkdir -p /run/facet\n  - touch /run/facet/bootstrap.done\n"


@dataclass(frozen=True)
class Guests:
    """The process, and the network that it says its guests live in."""

    process: subprocess.Popen[str]
    network: str


@pytest.fixture
def guests(vcenter, tmp_path):
    @contextmanager
    def running(*more, ends=signal.SIGTERM):
        program = vcenter.program
        command = [sys.executable, str(ROOT / "manage.py"), "simulate_guests", "--endpoint", program.endpoint]
        command += ["--username", program.username, "--password-stdin", "--ca-file", str(program.ca_file)]
        command += ["--state", str(tmp_path / "guests.db"), *more]
        with (tmp_path / "guests.log").open("a") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=tmp_path,
                env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": f"{ROOT}:{ROOT}/platform"},
            )
        process.stdin.write(program.password + "\n")
        process.stdin.close()
        try:
            line = process.stdout.readline()
            assert line.startswith("simulated guests of"), (tmp_path / "guests.log").read_text()
            yield Guests(process, line.split()[-1])
        finally:
            process.send_signal(ends)
            assert process.wait(15) == (0 if ends is signal.SIGTERM else -ends)
            process.stdout.close()

    return running


@pytest.fixture
def shop():
    """A cluster whose endpoint lies in no house's network, as an address range of IT's does."""
    return Cluster(f"127.{random.randrange(226, 254)}.0.10")


def address_of(driver, key):
    return until(lambda: driver.find_vms([key])[key].address)


def user_data(config) -> str:
    return "#cloud-config\n" + yaml.safe_dump(config)


def node_ids(shop: Cluster, folder: Path) -> dict[str, str] | None:
    """Names and uids of the Nodes, by the cluster's own API at its endpoint; None while it does not answer."""
    pair = folder / "pair.pem"
    pair.write_text("".join(shop.ca.client("admin", "system:masters")))
    context = ssl.create_default_context(cadata=shop.ca.crt)
    context.load_cert_chain(pair)
    try:
        with urllib.request.urlopen(f"https://{shop.endpoint}:6443/api/v1/nodes", timeout=5, context=context) as answer:
            found = yaml.safe_load(answer.read())["items"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
    return {node["metadata"]["name"]: node["metadata"]["uid"] for node in found}


def control_plane(room, driver, shop):
    """A VM with the boot data of the cluster's first control plane, powered on."""
    spec = room.spec("shop-cp")
    room.make_vms(spec)
    assert driver.ensure_boot_data({spec.key: user_data(shop.init(spec.name))}) == {spec.key: None}
    room.power(spec.key, Power.ON)
    return spec


def test_a_vm_boots_keeps_its_disk_over_a_restart_and_goes(vcenter, room, driver, guests, tmp_path):
    spec = room.spec()
    room.make_vms(spec)
    driver.ensure_boot_data({spec.key: USER_DATA})
    with guests() as first:
        room.power(spec.key, Power.ON)
        address = address_of(driver, spec.key)
        assert address.startswith(first.network.rsplit(".", 2)[0])
    driver.ensure_boot_data({spec.key: None})
    with guests() as again:
        assert again.network == first.network
        room.power(spec.key, Power.OFF)
        room.power(spec.key, Power.ON)
        assert address_of(driver, spec.key) == address
    assert vcenter.program.password not in (tmp_path / "guests.log").read_text()


def test_a_cluster_serves_its_endpoint_outside_the_nodes_range_and_survives_a_kill(
    room, driver, guests, shop, tmp_path
):
    with guests(ends=signal.SIGKILL):
        first = control_plane(room, driver, shop)
        before = until(lambda: node_ids(shop, tmp_path))
        assert set(before) == {first.name}
    driver.ensure_boot_data({first.key: None})  # boot data is wiped once the node is Ready
    assert node_ids(shop, tmp_path) is None
    worker = room.spec("shop-main")
    room.make_vms(worker)
    driver.ensure_boot_data({worker.key: user_data(shop.join(worker.name))})
    room.power(worker.key, Power.ON)
    with guests():
        after = until(lambda: (found := node_ids(shop, tmp_path)) and len(found) == 2 and found)
        assert after[first.name] == before[first.name]
        assert address_of(driver, worker.key) != address_of(driver, first.key)


def test_a_vm_that_went_while_the_process_was_dead_leaves_nothing_at_its_endpoint(
    vcenter, room, driver, guests, shop, tmp_path
):
    with guests(ends=signal.SIGKILL):
        first = control_plane(room, driver, shop)
        until(lambda: node_ids(shop, tmp_path))
    vcenter.by_hand.delete_vm(first.key)
    room.keys.discard(first.key)
    with guests():
        until(lambda: node_ids(shop, tmp_path) is None)
        other = control_plane(room, driver, shop)
        assert set(until(lambda: node_ids(shop, tmp_path))) == {other.name}


def test_two_processes_never_serve_one_network(room, driver, guests, tmp_path):
    with guests() as first:
        second = subprocess.run(
            [*first.process.args[:-1], str(tmp_path / "other.db"), "--node-range", first.network],
            input="secret\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": f"{ROOT}:{ROOT}/platform"},
        )
    assert second.returncode != 0
    assert f"{first.network} is in use by another process" in second.stderr
    assert "Traceback" not in second.stderr
