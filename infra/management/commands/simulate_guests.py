"""`manage.py simulate_guests`: boot simulated guests for the VMs that are powered on in a vCenter."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from infra.drivers.base import Connection
from infra.drivers.vsphere.guestinfo import GuestSite
from infra.simulator.guests.addresses import AddressesTaken
from infra.simulator.guests.house import House
from infra.simulator.vcenter_guests import VcenterGuests


class Command(BaseCommand):
    help = "Boot simulated guests for the VMs that are powered on in a vCenter (a simulated one: see tests/vcsim)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--endpoint", required=True, help="https://127.0.0.1:8989/sdk")
        parser.add_argument("--username", required=True)
        parser.add_argument("--password-stdin", action="store_true", required=True, help="read the password from stdin")
        parser.add_argument("--ca-file", type=Path, required=True, help="CA of the vCenter's certificate, PEM")
        parser.add_argument("--state", type=Path, required=True, help="file of the guests' disks")
        parser.add_argument("--node-range", default=None, help="loopback network of the nodes, e.g. 127.21.0.0/16")

    def handle(self, *args: Any, **options: Any) -> None:
        password = sys.stdin.readline().rstrip("\n")
        if not password:
            raise CommandError("No password came on stdin.")
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        try:
            ca_pem = options["ca_file"].read_text()
        except OSError as error:
            raise CommandError(f"The CA file cannot be read: {error}") from error
        connection = Connection(
            driver="vsphere",
            endpoint=options["endpoint"],
            username=options["username"],
            password=password,
            ca_pem=ca_pem,
        )
        asyncio.run(self._serve(GuestSite(connection), options["state"], options["node_range"]))

    async def _serve(self, site: GuestSite, state: Path, network: str | None) -> None:
        house = House(state, network)
        try:
            await house.start()
        except (AddressesTaken, ValueError) as error:
            raise CommandError(f"The guests' network: {error}.") from error
        guests = VcenterGuests(site, house, known=state.with_name(f"{state.name}.known.json"))
        loop = asyncio.get_running_loop()
        following = loop.create_task(guests.run())
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, guests.end)
        self.stdout.write(f"simulated guests of {site.endpoint} on {house.network}")
        self.stdout.flush()
        try:
            await following
        finally:
            await house.stop()
            await asyncio.to_thread(site.close)
