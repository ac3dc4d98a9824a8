"""`manage.py simulate_guests` as a person starts it: a process beside a vCenter."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.drivers.base import Power
from tests.contract.room import until

ROOT = Path(__file__).parents[3]
USER_DATA = "#cloud-config\nruncmd:\n  - mkdir -p /run/facet\n  - touch /run/facet/bootstrap.done\n"


@pytest.fixture
def guests(vcenter, tmp_path):
    @contextmanager
    def running(*more):
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
            yield line.split()[-1]
        finally:
            process.terminate()
            assert process.wait(15) == 0
            process.stdout.close()

    return running


def test_a_vm_boots_keeps_its_disk_over_a_restart_and_goes(vcenter, room, driver, guests, tmp_path):
    spec = room.spec()
    room.make_vms(spec)
    driver.ensure_boot_data({spec.key: USER_DATA})
    with guests() as network:
        room.power(spec.key, Power.ON)
        address = until(lambda: driver.find_vms([spec.key])[spec.key].address)
        assert address.startswith(network.rsplit(".", 2)[0])
    driver.ensure_boot_data({spec.key: None})
    with guests() as again:
        assert again == network
        room.power(spec.key, Power.OFF)
        room.power(spec.key, Power.ON)
        assert until(lambda: driver.find_vms([spec.key])[spec.key].address) == address
    assert vcenter.program.password not in (tmp_path / "guests.log").read_text()
