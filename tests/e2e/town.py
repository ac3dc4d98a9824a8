"""A running stack with a carved tenant on its simulated datacenter, and a hand at that datacenter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from infra.drivers import factory
from infra.drivers.base import Connection, VmFacts

from . import stack
from .stack import Stack, until

PLENTY = {
    "vcpu": 400, "memory_mib": 800 * 1024, "storage_gib": 8192, "vms": 200, "clusters": 20, "volumes": 5, "networks": 5,
}  # fmt: skip
BUILD_S = 120.0


@dataclass
class Town:
    """IT's client, a service account's, and the paths of what was carved."""

    world: Stack
    it: httpx.Client
    ci: httpx.Client
    project: str
    site: str

    def hand(self, act: str, **request: Any) -> Any:
        """An act at the site that does not go through Facet; see infra/simulator/hand.py."""
        answer = httpx.post(f"{self.endpoint}/hand/{act}", json=request, auth=("facet", self.password), timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.world.home.simulator_port}"

    @property
    def password(self) -> str:
        return self.world.home.simulator_password.read_text().strip()

    def ask(self, name: str = "shop", workers: int = 3, **headers: str) -> httpx.Response:
        body = {"name": name, "zones": ["az1"], "node_pools": [{"name": "workers", "size": workers}]}
        return self.ci.post(f"{self.project}/clusters", json=body, headers=headers)

    def at_site(self) -> list[VmFacts]:
        """The VMs of ours that the site shows: by our driver, whose own witness is its contract suite."""
        driver = factory.connect(Connection("simulator", self.endpoint, "facet", self.password))
        try:
            return [vm for vm in driver.inventory().vms if vm.witness]
        finally:
            driver.close()

    def held(self) -> dict[str, int]:
        """What somebody holds, by rows and by the counters that must agree with them."""
        queries = {
            "vms": "select count(*) from workloads_vm where deleted_at is null",
            "allocations": "select count(*) from scheduler_allocation where released is null",
            "vcpu": "select coalesce(sum(vcpu), 0) from scheduler_allocation where released is null",
            "vcpu_on_hosts": "select sum(vcpu_claimed) from infra_host",
            "gib_on_datastores": "select sum(claimed_gib) from infra_datastore",
            "endpoints": "select count(*) from infra_endpoint where holder is not null",
            "quota": "select sum(used) from tenants_quota where project_id is not null",
            "inflight": "select count(*) from operations_inflight",
        }
        return {name: int(self.world.sql(query)[0][0]) for name, query in queries.items()}

    def operation(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ci.get(f"operations/{id}").json()
        return found

    def ended(self, id: str, *, patience_s: float = BUILD_S) -> dict[str, Any]:
        """The operation once it has ended; whoever is down meanwhile comes back."""

        def look() -> dict[str, Any] | None:
            try:
                found = self.operation(id)
            except httpx.TransportError:
                return None
            return found if found.get("ended_at") else None

        return until(look, patience_s=patience_s, what=lambda: f"{self.queue()} {self.world.tails()}")

    def queue(self) -> list[tuple[Any, ...]]:
        return self.world.sql("select kind, key, due_at, lease_until, attempts, last_error from operations_wakeup")

    def delete(self, cluster: str) -> dict[str, Any]:
        answer = self.ci.delete(f"clusters/{cluster}")
        assert answer.status_code == 202, answer.text
        return self.ended(answer.json()["operation"]["id"])


def _done(client: httpx.Client, town: Town, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST; and where it takes time, wait until it has succeeded."""
    answer = client.post(path, json=body)
    assert answer.status_code in (201, 202), f"{path}: {answer.text}"
    made: dict[str, Any] = answer.json()
    if answer.status_code == 202:
        id = made["operation"]["id"]
        ended = until(lambda: (op := client.get(f"operations/{id}").json()).get("ended_at") and op, patience_s=60)
        assert ended["phase"] == "succeeded", ended
    return made


@contextmanager
def carved(folder: Path, **environ: str) -> Iterator[Town]:
    """A stack of one's own on which IT has done its part."""
    with stack.running(folder, **environ) as world:
        it = world.api(world.admin())
        town = Town(world, it, it, "", "")
        way = {"driver": "simulator", "endpoint": town.endpoint, "username": "facet", "password": town.password}
        town.site = _done(it, town, "sites", {"name": "dc1", **way})["site"]["id"]
        zone = {
            "name": "az1", "site": "dc1", "selector": {"vsphere_cluster": "rack-1"}, "datastores": ["rack-1-ssd"],
            "networks": ["VM Network"],
        }  # fmt: skip
        _done(it, town, "zones", zone)
        image = {"name": "kube", "site": "dc1", "template": "kube-v1.34", "framework": "kubernetes"}
        _done(it, town, "images", {**image, "version": "v1.34.2"})
        manifest = (stack.ROOT / "docs/examples/facet-cni.yaml").read_text()
        _done(it, town, "addons", {"name": "facet-cni", "kind": "cni", "version": "v1", "manifest": manifest})
        tenant = _done(it, town, "tenants", {"name": "acme", "quota": PLENTY})
        room = {"vcpu": 400, "memory_mib": 800 * 1024}
        _done(it, town, f"tenants/{tenant['id']}/pools", {"zone": "az1", "model": "on-demand", "limit": room})
        project = _done(it, town, f"tenants/{tenant['id']}/projects", {"name": "web", "quota": PLENTY})
        town.project = f"projects/{project['id']}"
        account = _done(it, town, f"{town.project}/service-accounts", {"name": "ci", "role": "project-editor"})
        token = _done(it, town, f"service-accounts/{account['id']}/tokens", {})["token"]
        town.ci = world.api(token)
        yield town
