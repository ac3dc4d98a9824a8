"""A small stack in a process of its own, for tests that kill it: `python -m tests.integration.embedded_trial`.

Starts the databases and a sleeper, prints one line of JSON (supervisord's pid and the states), and waits for a line.
"""

from __future__ import annotations

import json
import os
import sys

from facet.embedded import child, postgres, programs, supervision, valkey
from facet.embedded.home import Home
from facet.embedded.programs import Program


def main() -> None:
    home = Home.of(os.environ)
    home.prepare()
    server = postgres.Server.at(home.path)
    server.initialise()
    supervisor = supervision.Supervisor(home, [*programs.databases(home), Program("sleeper", ("sleep", "1000"))])
    supervisor.start(home.environment(os.environ))
    try:
        supervisor.run("postgres", "valkey", "sleeper")
        server.wait()
        server.provision()
        valkey.Server.at(home.path).wait()
        sleepers = list(child.left_behind(str(home.path), "sleeper"))
        print(json.dumps({"supervisor": supervisor.process.pid, "sleepers": sleepers}), flush=True)
        sys.stdin.readline()
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main()
