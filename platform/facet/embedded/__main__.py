"""`python -m facet.embedded run|demo [--once]|stop|status`: Facet on one machine, without Docker."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Callable

from . import demo, stack, supervision
from .home import Home, Lock
from .people import DemoFailed
from .postgres import CannotStart
from .programs import databases

MACHINES = ("x86_64", "aarch64")
STOP_TIMEOUT_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """0 done, 1 failed (with a sentence on stderr)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.act(Home.of(os.environ), options))
    except (CannotStart, DemoFailed) as error:
        print(f"facet: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m facet.embedded",
        description="Facet on one machine, without Docker. FACET_HOME (.facet) and FACET_PORT (8800) move it.",
    )
    acts = parser.add_subparsers(required=True, metavar="run|demo|stop|status")
    _act(acts, "run", run, "start the stack empty and stay until Ctrl-C")
    once = _act(acts, "demo", run_demo, "start it, do the main job as three people, stay until Ctrl-C")
    once.add_argument("--once", action="store_true", help="stop after the job; exit code 0 only if all nodes are Ready")
    _act(acts, "stop", stop, "stop the stack of this FACET_HOME")
    _act(acts, "status", status, "what runs; exit code 0 only if all of it does")
    return parser


def _act(
    acts: argparse._SubParsersAction[argparse.ArgumentParser], name: str, act: Callable[..., int], help_: str
) -> argparse.ArgumentParser:
    parser = acts.add_parser(name, help=help_, description=help_)
    parser.set_defaults(act=act)
    return parser


def run(home: Home, options: argparse.Namespace) -> int:
    _check_machine()
    try:
        with stack.running(home) as supervisor:
            _say_where(home)
            stack.wait_for_the_end(supervisor)
    except stack.Interrupted:
        print("\nEverything is stopped; the data stays.", flush=True)
    return 0


def run_demo(home: Home, options: argparse.Namespace) -> int:
    _check_machine()
    done = False
    try:
        with stack.running(home) as supervisor:
            kubeconfig = demo.run(home)
            done = True
            print(f"\nThe cluster is simulated; its kubeconfig (valid for 1 h): {os.path.relpath(kubeconfig)}")
            _say_where(home, staying=not options.once)
            if not options.once:
                stack.wait_for_the_end(supervisor)
    except stack.Interrupted:
        print("\nEverything is stopped; the data stays.", flush=True)
    return 0 if done else 1


def stop(home: Home, options: argparse.Namespace) -> int:
    lock = Lock(home)
    holder = lock.holder()
    if not holder:
        print(f"Nothing runs from {home.path}.")
        return 0
    os.kill(int(str(holder["pid"])), signal.SIGTERM)
    if not lock.wait_free(STOP_TIMEOUT_S):
        raise CannotStart(f"Process {holder['pid']} does not end.")
    print("Stopped.")
    return 0


def status(home: Home, options: argparse.Namespace) -> int:
    holder = Lock(home).holder()
    if not holder:
        print(f"Nothing runs from {home.path}.")
        return 1
    states = supervision.Supervisor(home, databases(home)).states()
    print(f"{holder['url']} (process {holder['pid']})")
    for name, state in sorted(states.items()):
        print(f"  {name:10} {state.lower()}")
    return 0 if all(state == "RUNNING" for state in states.values()) else 1


def _say_where(home: Home, *, staying: bool = True) -> None:
    print(f"Console: {home.url}   user: admin   password in: {os.path.relpath(home.admin_password)}")
    if staying:
        print("Ctrl-C stops everything.", flush=True)


def _check_machine() -> None:
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        raise CannotStart("The embedded stack runs on Linux, x86-64 or arm64. Elsewhere use docker compose up.")


if __name__ == "__main__":
    sys.exit(main())
