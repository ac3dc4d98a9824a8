"""Guests boot for the VMs of a simulated datacenter, from what the driver put into them, and live as their VMs do."""

from __future__ import annotations

import json
import ssl
from uuid import uuid4

import httpx
import pytest
import yaml

from infra.drivers.base import Power
from tests.contract.room import until
from tests.unit.guests.userdata import Cluster


@pytest.fixture
def shop(driver):
    """A cluster with an endpoint in the simulator's own network."""
    prefix = driver.check().address_network.split(".")[:2]
    return Cluster(".".join([*prefix, "1", "10"]))


def boot(room, driver, name, config, version="v1.34.2"):
    """A VM that was given this cloud-config and powered on."""
    key = uuid4()
    metadata = json.dumps({"instance-id": str(key), "local-hostname": name})
    spec = room.spec(name=name, metadata=metadata, guest_version=version)
    room.right(room.make_vms(spec)[spec.key])
    assert driver.ensure_boot_data({spec.key: "#cloud-config\n" + yaml.safe_dump(config)}) == {spec.key: None}
    room.power(spec.key, Power.ON)
    return spec.key


def finished(driver, key):
    until(lambda: "cloud-init: " in driver.console_log(key).splitlines()[-1] and driver.console_log(key))
    until(lambda: driver.console_log(key).splitlines()[-1].startswith(("cloud-init: finished", "cloud-init: runcmd")))
    return driver.console_log(key)


def client(shop, folder):
    crt, key = shop.ca.client("admin", "system:masters")
    (folder / "crt.pem").write_text(crt)
    (folder / "key.pem").write_text(key)
    context = ssl.create_default_context(cadata=shop.ca.crt)
    context.load_cert_chain(folder / "crt.pem", folder / "key.pem")
    return httpx.Client(base_url=f"https://{shop.endpoint}:6443", verify=context, trust_env=False)


def test_a_control_plane_and_a_worker_boot_and_their_cluster_answers(room, driver, hand, shop, tmp_path):
    first = boot(room, driver, "shop-cp", shop.init("shop-cp"))
    worker = boot(room, driver, "shop-w", shop.join("shop-w"))
    assert "cloud-init: finished" in finished(driver, first)
    assert "cloud-init: finished" in finished(driver, worker)
    address = until(lambda: driver.find_vms([worker])[worker].address)
    with client(shop, tmp_path) as api:
        assert api.get("/version").json()["gitVersion"] == "v1.34.2+simulated"
        nodes = {node["metadata"]["name"]: node["status"] for node in api.get("/api/v1/nodes").json()["items"]}
        assert nodes.keys() == {"shop-cp", "shop-w"}
        assert {"type": "InternalIP", "address": address} in nodes["shop-w"]["addresses"]

        hand.power_off(first)
        with pytest.raises(httpx.TransportError):
            api.get("/version")
        room.power(first, Power.ON)
        until(lambda: driver.find_vms([first])[first].address)
    with client(shop, tmp_path) as api:
        assert until(lambda: _answers(api))["items"]
    room.remove([first])
    with client(shop, tmp_path) as api, pytest.raises(httpx.TransportError):
        api.get("/version")


def _answers(api):
    try:
        return api.get("/api/v1/nodes").json()
    except httpx.TransportError:
        return None


def test_the_version_of_a_guest_is_what_its_image_is_said_to_carry(room, driver, shop):
    key = boot(room, driver, "old-cp", shop.init("old-cp"), version="v1.33.0")
    assert "1.33" in finished(driver, key)
    assert "runcmd failed" in driver.console_log(key)


def test_a_vm_made_anew_under_its_key_is_another_machine_with_an_empty_disk(room, driver, hand):
    spec = room.spec()
    room.make_vms(spec)
    room.power(spec.key, Power.ON)
    assert "cloud-init: finished" in finished(driver, spec.key)
    hand.delete_vm(spec.key)
    room.make_vms(spec)
    assert driver.console_log(spec.key) == ""
    assert driver.ensure_boot_data({spec.key: "#cloud-config\n{}\n"}) == {spec.key: None}, "it has never been on"


def test_a_guest_reports_its_address_once_it_has_booted_and_not_while_it_is_off(own):
    with own("--boot-seconds", "0.4") as (_, driver, room):
        vm = room.vm()
        cursor = driver.inventory().cursor
        assert room.power(vm.key, Power.ON).address is None
        first = until(lambda: driver.find_vms([vm.key])[vm.key].address)
        network = driver.check().address_network
        assert first.startswith(".".join(network.split(".")[:2]) + ".")
        assert int(first.split(".")[2]) > 15, "the first blocks are for cluster endpoints"
        assert driver.changes(cursor, 0).vms[0].address == first, "an address is told as a change"
        assert room.power(vm.key, Power.OFF).address is None
        assert room.power(vm.key, Power.ON).address is None
        assert until(lambda: driver.find_vms([vm.key])[vm.key].address) == first


def test_a_vm_that_goes_off_before_it_has_booted_reports_nothing(own):
    with own("--boot-seconds", "0.3") as (_, driver, room):
        vm, other = room.vm(), room.vm()
        room.power(vm.key, Power.ON)
        room.power(vm.key, Power.OFF)
        room.power(other.key, Power.ON)
        until(lambda: driver.find_vms([other.key])[other.key].address)
        assert driver.find_vms([vm.key])[vm.key].address is None
