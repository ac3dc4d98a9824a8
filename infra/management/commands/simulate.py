"""`manage.py simulate`: run a simulated datacenter, guests included. Needs no database."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from infra.drivers.base import Refused
from infra.simulator import server
from infra.simulator.datacenter import Datacenter, HomeTaken
from infra.simulator.guests.addresses import AddressesTaken


def latency(text: str) -> tuple[str, float]:
    """`clone=2.0` -> its verb and seconds."""
    verb, _, seconds = text.partition("=")
    try:
        return verb, float(seconds)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not like clone=2.0") from None


class Command(BaseCommand):
    help = "Run a simulated datacenter: hosts, datastores, VMs, and guests that boot. docs/simulator.md says more."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--home", type=Path, required=True, help="folder of its files; made where it is not there")
        parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1; 0 takes a free one and prints it")
        parser.add_argument("--username", default="facet")
        parser.add_argument("--password-file", type=Path, required=True)
        parser.add_argument("--network", default=None, help="of its guests, e.g. 127.77.0.0/16; else a free one")
        parser.add_argument("--racks", type=int, default=3, help="vSphere clusters rack-1, rack-2, ...")
        parser.add_argument("--hosts-per-rack", type=int, default=8)
        parser.add_argument(
            "--latency", type=latency, action="append", default=[], metavar="VERB=SECONDS", help="e.g. clone=2.0"
        )
        parser.add_argument("--boot-seconds", type=float, default=0.0, help="what a guest takes before cloud-init runs")
        parser.add_argument("--tasks-kept", type=float, default=300.0, metavar="SECONDS", help="after a task's end")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            password = options["password_file"].read_text().strip()
            listener = server.bind(options["port"])
        except OSError as error:
            raise CommandError(str(error)) from error
        if not password:
            raise CommandError(f"{options['password_file']} is empty.")
        with listener:
            try:
                asyncio.run(self._serve(listener, password, options))
            except (HomeTaken, AddressesTaken, ValueError) as error:
                raise CommandError(str(error)) from error
            except Refused as error:
                raise CommandError(error.reason) from error

    async def _serve(self, listener: Any, password: str, options: dict[str, Any]) -> None:
        datacenter = Datacenter(
            options["home"],
            network=options["network"],
            racks=options["racks"],
            hosts_per_rack=options["hosts_per_rack"],
            latency=dict(options["latency"]),
            boot_s=options["boot_seconds"],
            tasks_kept_s=options["tasks_kept"],
        )

        def ready() -> None:
            port = listener.getsockname()[1]
            network = datacenter.guests.network
            self.stdout.write(f"a simulated datacenter answers at http://127.0.0.1:{port}, its guests on {network}")
            sys.stdout.flush()

        await server.serve(datacenter, listener, options["username"], password, ready)
