"""supervisord as a child of ours: its configuration, its start and end, and its control socket.

All paths in the configuration are relative to FACET_HOME, where it runs, and the commands name programs only (see
child.py): no path of the machine, with whatever characters, is ever parsed by it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from . import child
from .home import Home
from .postgres import CannotStart
from .programs import Program

HEAD = """[supervisord]
nodaemon=true
silent=true
logfile=logs/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile=supervisord.pid
childlogdir=logs
umask=077

[unix_http_server]
file=%(ENV_FACET_SUPERVISOR_SOCKET)s
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
ONE = """
[program:{name}]
command=python -m facet.embedded.child {name}
autostart=false
autorestart=true
startsecs=1
startretries=5
stopsignal={stop}
stopwaitsecs=15
killasgroup=true
redirect_stderr=true
stdout_logfile=logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=1
"""
GROUP = """
[group:{name}]
programs={programs}
priority={priority}
"""
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 45.0
GIVEN_UP = ("FATAL", "EXITED", "UNKNOWN")


def configuration(programs: Sequence[Program]) -> str:
    """The text of supervisord.conf. Groups end in reverse order of priority: services first, databases last."""
    parts = [HEAD, *(ONE.format(name=one.name, stop=one.stop.name.removeprefix("SIG")) for one in programs)]
    for name, priority, data in (("data", 10, True), ("facet", 20, False)):
        members = ",".join(one.name for one in programs if one.data is data)
        if members:
            parts.append(GROUP.format(name=name, programs=members, priority=priority))
    return "".join(parts)


def table(programs: Sequence[Program]) -> str:
    """What child.py reads: name -> argv, stop signal, prefix."""
    return json.dumps(
        {one.name: {"argv": one.argv, "stop": int(one.stop), "prefix": one.prefix} for one in programs}, indent=1
    )


@dataclass
class Supervisor:
    """One supervisord and its programs."""

    home: Home
    programs: Sequence[Program]
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.home.sockets / "supervisor.sock"

    def start(self, environ: Mapping[str, str]) -> None:
        """Start it with no program running yet. Raises CannotStart."""
        (self.home.path / "supervisord.conf").write_text(configuration(self.programs))
        (self.home.path / child.TABLE).write_text(table(self.programs))
        (self.home.path / "supervisord.pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
            cwd=self.home.path,
            env={
                **environ,
                "FACET_SUPERVISOR_SOCKET": str(self.socket),
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)]),
                "PYTHONPATH": _absolute(environ.get("PYTHONPATH", "")),
            },
            stdin=subprocess.DEVNULL,
            stdout=(self.home.logs / "supervisord.out").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to hear; we end it in order
            preexec_fn=child.dying_with_this_process(),  # safe: this process has one thread
        )
        self._wait_for_control()

    def _wait_for_control(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.socket):
            if (self.process and self.process.poll() is not None) or time.monotonic() > deadline:
                raise CannotStart(f"supervisord did not start:\n{tail(self.home.logs / 'supervisord.out')}")
            time.sleep(0.02)  # a socket that is not there yet cannot be waited on

    def run(self, *names: str) -> None:
        """Start programs, side by side; returns at once."""
        groups = {one.name: "data" if one.data else "facet" for one in self.programs}
        control = rpc(self.socket)
        for name in names:
            control.startProcess(f"{groups[name]}:{name}", False)

    def states(self) -> dict[str, str]:
        """Program -> supervisord's word for its state."""
        found = cast(list[dict[str, Any]], rpc(self.socket).getAllProcessInfo())
        return {one["name"]: one["statename"] for one in found}

    def check(self, names: Sequence[str]) -> None:
        """Raises CannotStart with the end of its log when one of `names` was given up."""
        if self.process is not None and self.process.poll() is not None:
            raise CannotStart("supervisord ended by itself; see logs/supervisord.log")
        for name, state in self.states().items():
            if name in names and state in GIVEN_UP:
                raise CannotStart(f"{name} does not start. The end of its log:\n{tail(self.home.logs / f'{name}.log')}")

    def stop(self) -> None:
        """End every program in order, then supervisord. Whatever does not end in time is killed."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()  # the kernel then signals its children: child.py
            self.process.wait()
        child.end_left_behind(str(self.home.path))
        self.process = None


def rpc(socket: Path) -> Any:
    """supervisord's own interface over its unix socket."""
    transport = SupervisorTransport(None, None, serverurl=f"unix://{socket}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def answers(socket: Path) -> bool:
    try:
        return bool(rpc(socket).getState())
    except (OSError, xmlrpc.client.Error):
        return False


def tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def _absolute(search: str) -> str:
    return os.pathsep.join(str(Path(part).absolute()) for part in search.split(os.pathsep) if part)
