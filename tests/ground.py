"""A site of its own for a test, carved, and a tenant on it: made through the API, as IT makes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import factories, work
from tests.client import Api
from tests.contract import simulator_site
from tests.contract.site import Site

CNI = Path(__file__).resolve().parent.parent / "docs" / "examples" / "facet-cni.yaml"
POOL = {"vcpu": 200, "memory_mib": 400 * 1024}


@dataclass(frozen=True)
class Ground:
    """IT, a tenant with a project and pools in its zones, and the site beneath."""

    site: Site
    site_id: str
    it: Api
    office: factories.Office
    zones: list[str]

    @property
    def project(self) -> str:
        return f"projects/{self.office.project.id}"

    @property
    def editor(self) -> Api:
        return self.office.editor

    def cluster(self, name: str = "shop", **body: Any) -> Any:
        """The answer to a request for a cluster."""
        asked = {"name": name, "zones": self.zones[:1], "node_pools": [{"name": "workers", "size": 3}], **body}
        return self.editor.post(f"{self.project}/clusters", asked)

    def sync(self) -> None:
        """One complete look at the site."""
        work.succeed(self.it, self.it.post(f"sites/{self.site_id}/sync"))


@contextmanager
def simulated(folder: Path, *, zones: int = 1, pools: bool = True, **more: Any) -> Iterator[Ground]:
    """On a simulator of its own. Ends with it. `more`: what is said of each zone."""
    with simulator_site.running(folder) as site:
        yield carved(site, zones=zones, pools=pools, **more)


def carved(site: Site, *, zones: int = 1, pools: bool = True, **more: Any) -> Ground:
    """On a site that runs: registered, carved, with an image, and a tenant with its pools."""
    it = factories.person("root", "platform-admin")
    made = register(it, site)
    names = [carve(it, made, site, number, **more) for number in range(1, zones + 1)]
    publish(it, site)
    office = factories.office("acme")
    if pools:
        for name in names:
            answer = it.post(f"tenants/{office.tenant.id}/pools", {"zone": name, "model": "on-demand", "limit": POOL})
            work.succeed(it, answer)
    return Ground(site, made, it, office, names)


def register(it: Api, site: Site, name: str = "dc1") -> str:
    way = site.connection
    body = {
        "name": name, "driver": way.driver, "endpoint": way.endpoint, "username": way.username,
        "password": way.password, "ca_pem": way.ca_pem,
    }  # fmt: skip
    answer = it.post("sites", body)
    work.succeed(it, answer)
    found: str = answer["site"]["id"]
    return found


def carve(it: Api, site_id: str, site: Site, number: int, **more: Any) -> str:
    """The zone az<number>, of the site's cluster rack-<number> (the contract's own cluster for 1)."""
    cluster = site.vsphere_cluster.replace("1", str(number))
    body = {
        "name": f"az{number}", "site": "dc1", "selector": {"vsphere_cluster": cluster},
        "datastores": [site.datastore.replace("1", str(number))], "networks": [site.network], **more,
    }  # fmt: skip
    work.succeed(it, it.post("zones", body))
    return f"az{number}"


def publish(it: Api, site: Site) -> None:
    image = {"name": "kube", "site": "dc1", "template": site.template, "framework": "kubernetes", "version": "v1.34.2"}
    assert it.post("images", image).status == 201
    addon = {"name": "facet-cni", "kind": "cni", "version": "v1", "manifest": CNI.read_text()}
    assert it.post("addons", addon).status == 201
