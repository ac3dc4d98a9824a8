"""Requests for VMs through Facet as it ships, on a simulated vCenter: their time beside a bare program's, their calls.

The stack is `make run`'s: web, one worker process of eight slots, beat, watch. A request of a hundred VMs is a hundred
POSTs, eight at a time, as a tool like Terraform makes them; the clock runs from the first 202 until the last VM is
known to run with its address. Guests tell their address as they come on (`-guest-network`): no boot is waited for.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e import stack
from tests.e2e.stack import Stack
from tests.vcsim import run
from tests.vcsim.run import Vcsim

VMS, TURNS, AT_ONCE = 100, 3, 8
SLOW_CLONE_S, SLOW_AT_ONCE = 2.0, 28  # what Facet's budget of 32 lets one tenant have in flight
FLOOD, FIRSTS = 200, 3
IDLE_HOSTS, IDLE_VMS, IDLE_S = 1000, 10_000, 90.0
LONG_POLL = frozenset({"WaitForUpdatesEx"})
FULL_READ = "CreateContainerView"  # every read of the whole inventory begins with one
PLENTY = {
    "vcpu": 4000, "memory_mib": 8000 * 1024, "storage_gib": 100_000, "vms": 2000, "clusters": 5, "volumes": 5,
    "networks": 5,
}  # fmt: skip
Bare = Callable[[Vcsim, int, int], Callable[[], None]]  # so many at once, so many VMs -> what makes them
GUESTS = ("-guest-network", "10.77.0.0/16", "-datastore-gib", "200000")


@dataclass
class Team:
    """A tenant with a project, and a client that may ask for VMs in it."""

    world: Stack
    client: httpx.Client
    project: str

    def ask(self, names: list[str]) -> float:
        """One request each; when the first was accepted."""

        def one(name: str) -> float:
            body = {"name": name, "zones": ["az1"], "flavor": "small"}
            answer = self.client.post(f"projects/{self.project}/vms", json=body)
            if answer.status_code != 202:
                raise RuntimeError(answer.text)
            return time.perf_counter()

        with ThreadPoolExecutor(AT_ONCE) as threads:
            return min(threads.map(one, names))

    def arrived(self) -> int:
        query = """select count(*) from workloads_vm where project_id = %s and deleted_at is null
                   and phase = 'running' and address is not null"""
        return int(self.world.sql(query, self.project)[0][0])

    def make(self, count: int, name: str) -> float:
        """Seconds until so many more run with their address."""
        before = self.arrived()
        began = self.ask([f"{name}-{number}" for number in range(count)])
        stack.until(lambda: self.arrived() >= before + count, patience_s=600, what=self.world.tails)
        return time.perf_counter() - began

    def clear(self) -> None:
        """Delete everything."""
        rows = self.world.sql(
            "select id from workloads_vm where project_id = %s and deleted_at is null and delete_asked_at is null",
            self.project,
        )
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda row: self.client.delete(f"vms/{row[0]}").raise_for_status(), rows))
        left = "select count(*) from workloads_vm where project_id = %s and deleted_at is null"
        stack.until(lambda: self.world.sql(left, self.project)[0][0] == 0, patience_s=300, what=self.world.tails)


def rows(
    bare: Bare, vms: int = VMS, turns: int = TURNS, flood: int = FLOOD, idle_vms: int = IDLE_VMS
) -> list[dict[str, Any]]:
    """All rows; without an idle site where `idle_vms` is 0."""
    with tempfile.TemporaryDirectory() as folder, stack.running(Path(folder)) as world:
        it = world.api(world.admin())
        (Path(folder) / "busy").mkdir()
        with run.running(Path(folder) / "busy", *GUESTS) as vcsim:
            _carve(it, vcsim)
            acme, shop = _team(world, it, "acme"), _team(world, it, "shop")
            found = [
                *_beside(acme, bare, vcsim, vms, turns, "", AT_ONCE),
                *_calls(acme, vcsim, vms),
            ]
            with vcsim.clones_take(SLOW_CLONE_S):
                found += _beside(acme, bare, vcsim, vms, 1, f".clones{SLOW_CLONE_S:.0f}s", SLOW_AT_ONCE)
                found += _fairness(acme, shop, flood)
        return found + (_idle(it, Path(folder), idle_vms) if idle_vms else [])


def _beside(
    team: Team, bare: Bare, vcsim: Vcsim, vms: int, turns: int, suffix: str, at_once: int
) -> Iterator[dict[str, Any]]:
    ours_s, bare_s = [], []
    for turn in range(turns):
        ours_s.append(team.make(vms, f"r{turn}"))
        team.clear()
        make = bare(vcsim, at_once, vms)  # its login and look-ups before the clock, and no connection that has idled
        began = time.perf_counter()
        make()
        bare_s.append(time.perf_counter() - began)
    print(f"turns{suffix}: ours {ours_s}, bare {bare_s}", file=sys.stderr)
    ours, peer = statistics.median(ours_s), statistics.median(bare_s)
    yield {
        "name": f"vsphere.request_s.vms{vms}{suffix}", "value": round(ours, 3), "unit": "s",
        "peer": f"bare pyvmomi, {at_once} at once", "peer_value": round(peer, 3), "ratio": round(ours / peer, 2),
        "aim": "ratio <= 1.2", "met": ours / peer <= 1.2,
    }  # fmt: skip


def _calls(team: Team, vcsim: Vcsim, vms: int) -> list[dict[str, Any]]:
    before = vcsim.calls()
    team.make(vms, "counted")
    more = {name: count - before.get(name, 0) for name, count in vcsim.calls().items()}
    calls = sum(count for name, count in more.items() if name not in LONG_POLL) / vms
    full = more.get(FULL_READ, 0)
    team.clear()
    print({name: count for name, count in sorted(more.items()) if count}, file=sys.stderr)
    return [
        {"name": f"vsphere.request_calls_per_vm.vms{vms}", "value": round(calls, 2), "unit": "calls",
         "aim": "value <= 8", "met": calls <= 8},
        {"name": f"vsphere.request_full_reads.vms{vms}", "value": full, "unit": "reads", "aim": "value == 0",
         "met": full == 0},
    ]  # fmt: skip


def _fairness(acme: Team, shop: Team, flood: int) -> list[dict[str, Any]]:
    """Another tenant's first VM: on a site that does nothing else, and in the middle of a flood."""
    alone = [shop.make(1, f"alone{number}") for number in range(FIRSTS)]
    before = acme.arrived()
    acme.ask([f"flood-{number}" for number in range(flood)])
    beside = []
    while len(beside) < FIRSTS and acme.arrived() < before + flood:
        beside.append(shop.make(1, f"beside{len(beside)}"))
    if not beside:
        raise RuntimeError("the flood was over before anything was measured beside it")
    idle, busy = statistics.median(alone), statistics.median(beside)
    acme.clear()
    shop.clear()
    return [
        {"name": f"vsphere.first_vm_s.beside_flood_of_{flood}", "value": round(busy, 3), "unit": "s",
         "peer": "ourselves, site idle", "peer_value": round(idle, 3), "ratio": round(busy / idle, 2),
         "aim": "ratio <= 2", "met": busy / idle <= 2}
    ]  # fmt: skip


def _idle(it: httpx.Client, folder: Path, vms: int) -> list[dict[str, Any]]:
    """Calls besides the open long poll, on a large vCenter where nothing moves."""
    (folder / "large").mkdir()
    with run.running(folder / "large", "-hosts", str(max(1, vms // 10)), "-standalone-hosts", "0", "-vms", str(vms),
                     "-datastore-gib", "2000000", "-instance-uuid", "large") as vcsim:  # fmt: skip
        _done(it, "sites", _way(vcsim, "large"), patience_s=300)
        _quiet(vcsim)
        before, began = vcsim.calls(), time.monotonic()
        time.sleep(IDLE_S)  # the window itself: nothing is waited for
        more = {name: count - before.get(name, 0) for name, count in vcsim.calls().items()}
        calls = sum(count for name, count in more.items() if name not in LONG_POLL)
        per_30_s = calls * 30 / (time.monotonic() - began)
        print({name: count for name, count in sorted(more.items()) if count}, file=sys.stderr)
    return [
        {"name": f"vsphere.idle_calls_in_30s.vms{vms}", "value": round(per_30_s, 2), "unit": "calls",
         "aim": "value <= 1", "met": per_30_s <= 1}
    ]  # fmt: skip


def _quiet(vcsim: Vcsim) -> None:
    """Wait until the first looks of the site's pass and of its watch are over."""
    last, since = -1, time.monotonic()

    def quiet() -> bool:
        nonlocal last, since
        now = sum(count for name, count in vcsim.calls().items() if name not in LONG_POLL)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 20

    stack.until(quiet, patience_s=900)


# --- carving -------------------------------------------------------------------------------------------------------


def _way(vcsim: Vcsim, name: str) -> dict[str, Any]:
    return {
        "name": name, "driver": "vsphere", "endpoint": vcsim.endpoint, "username": vcsim.username,
        "password": vcsim.password, "ca_pem": vcsim.ca_pem,
    }  # fmt: skip


def _carve(it: httpx.Client, vcsim: Vcsim) -> None:
    _done(it, "sites", _way(vcsim, "dc1"))
    zone = {
        "name": "az1", "site": "dc1", "selector": {"vsphere_cluster": "DC0_C0"}, "datastores": ["LocalDS_0"],
        "networks": ["VM Network"],
    }  # fmt: skip
    _done(it, "zones", zone)
    image = {"name": "kube", "site": "dc1", "template": "DC0_C0_RP0_VM0", "framework": "kubernetes"}
    _done(it, "images", {**image, "version": "v1.34.2"})


def _team(world: Stack, it: httpx.Client, name: str) -> Team:
    tenant = _done(it, "tenants", {"name": name, "quota": PLENTY})
    room = {"vcpu": PLENTY["vcpu"], "memory_mib": PLENTY["memory_mib"]}
    _done(it, f"tenants/{tenant['id']}/pools", {"zone": "az1", "model": "on-demand", "limit": room})
    project = _done(it, f"tenants/{tenant['id']}/projects", {"name": "web", "quota": PLENTY})
    account = _done(it, f"projects/{project['id']}/service-accounts", {"name": "ci", "role": "project-editor"})
    token = _done(it, f"service-accounts/{account['id']}/tokens", {})["token"]
    return Team(world, world.api(token), project["id"])


def _done(client: httpx.Client, path: str, body: dict[str, Any], patience_s: float = 60) -> dict[str, Any]:
    """POST; and where it takes time, wait until it has succeeded."""
    answer = client.post(path, json=body)
    if answer.status_code not in (201, 202):
        raise RuntimeError(f"{path}: {answer.text}")
    made: dict[str, Any] = answer.json()
    if answer.status_code == 202:
        id = made["operation"]["id"]
        ended = stack.until(
            lambda: (op := client.get(f"operations/{id}").json()).get("ended_at") and op, patience_s=patience_s
        )
        if ended["phase"] != "succeeded":
            raise RuntimeError(f"{path}: {ended}")
    return made
