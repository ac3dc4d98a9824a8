"""A full sync of a large vCenter: what Facet takes to read and write down all of it, beside a bare read of the same.

Both run against one simulated vCenter, alternating; ours includes the database, where all is known from a first look.
The bare program asks the PropertyCollector for the same properties and keeps nothing.
"""

from __future__ import annotations

import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from infra import inventory
from infra.drivers.base import Connection
from infra.drivers.vsphere.driver import VsphereDriver
from infra.drivers.vsphere.inventory import EVERYTHING
from infra.models import Site
from tests import conftest, sites
from tests.factories import as_system
from tests.vcsim import run

HOSTS, VMS, TURNS = 1000, 10_000, 3
AIM = 1.5
Collector = vmodl.query.PropertyCollector


def rows(hosts: int = HOSTS, vms: int = VMS, turns: int = TURNS) -> list[dict[str, Any]]:
    flags = ("-hosts", str(hosts), "-vms", str(vms), "-standalone-hosts", "0")
    with tempfile.TemporaryDirectory() as folder, run.running(Path(folder), *flags) as vcsim:
        driver = VsphereDriver(
            Connection("vsphere", vcsim.endpoint, vcsim.username, vcsim.password, vcsim.ca_pem, "bench")
        )
        bare = Bare(vcsim)
        site = sites.registered(found=driver.inventory())
        ours_s, bare_s = [], []
        for _ in range(turns):
            ours_s.append(_timed(lambda: whole(site, driver)))
            bare_s.append(_timed(bare.read))
        driver.close()
        bare.close()
    ours, peer = statistics.median(ours_s), statistics.median(bare_s)
    return [
        {
            "name": f"vsphere.sync.hosts{hosts}.vms{vms}",
            "value": round(ours, 3),
            "unit": "s",
            "peer": "bare PropertyCollector read",
            "peer_value": round(peer, 3),
            "ratio": round(ours / peer, 2),
            "aim": f"ratio <= {AIM}",
            "met": ours / peer <= AIM,
        }
    ]


def whole(site: Site, driver: VsphereDriver) -> None:
    """Read everything, and write down what differs."""
    sites.observe(site, driver.inventory())


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class Bare:
    """pyVmomi, one container view and one read."""

    def __init__(self, vcsim: run.Vcsim) -> None:
        host, _, port = vcsim.address.partition(":")
        context = ssl.create_default_context(cadata=vcsim.ca_pem)
        self._si = SmartConnect(host=host, port=int(port), user=vcsim.username, pwd=vcsim.password, sslContext=context)

    def read(self) -> int:
        content = self._si.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, list(EVERYTHING), True)
        step = Collector.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
        wanted = [Collector.PropertySpec(type=kind, pathSet=list(names)) for kind, names in EVERYTHING.items()]
        start = Collector.ObjectSpec(obj=view, skip=True, selectSet=[step])
        page = content.propertyCollector.RetrievePropertiesEx(
            [Collector.FilterSpec(propSet=wanted, objectSet=[start])], Collector.RetrieveOptions()
        )
        found = 0
        while page is not None:
            found += len(page.objects)
            page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token) if page.token else None
        view.DestroyView()
        return found

    def close(self) -> None:
        Disconnect(self._si)
