"""What the stack consists of: one command for each program, as a list of arguments."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from . import postgres, valkey
from .home import Home

RACKS = 3
HOSTS_PER_RACK = 8
LATENCY = ("--latency", "clone=0.6", "--latency", "power_on=0.2", "--boot-seconds", "0.4")  # enough to be watched


@dataclass(frozen=True)
class Program:
    """`stop` ends it well; `prefix` stands before it where it must not run as root; `data` programs end last."""

    name: str
    argv: tuple[str, ...]
    stop: signal.Signals = signal.SIGTERM
    prefix: tuple[str, ...] = ()
    data: bool = False


def databases(home: Home) -> list[Program]:
    """PostgreSQL and Valkey; everything else needs them."""
    server = postgres.Server.at(home.path)
    command = server.command()[len(server.prefix) :]
    return [
        Program("postgres", tuple(command), signal.SIGINT, server.prefix, data=True),
        Program("valkey", tuple(valkey.Server.at(home.path).command()), data=True),
    ]


def simulator(home: Home) -> Program:
    """The datacenter that IT can register as a site. Needs no database."""
    place = ("--home", str(home.path / "simulator"), "--port", str(home.simulator_port))
    who = ("--password-file", str(home.simulator_password), "--network", home.guest_network())
    size = ("--racks", str(RACKS), "--hosts-per-rack", str(HOSTS_PER_RACK))
    return Program("simulator", _python("facet.manage", "simulate", *place, *who, *size, *LATENCY))


def services(home: Home) -> list[Program]:
    """Facet's own processes: they need a migrated database."""
    names = ("web", "events", "worker", "beat", "watch")
    return [Program(name, _python("facet.manage", name)) for name in names]


def manage(*arguments: str) -> Sequence[str]:
    """A management command that runs to its end."""
    return _python("facet.manage", *arguments)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)
