"""Inside a stack: `python -m tests.bench.programs.sync_inside ENDPOINT CA_FILE USERNAME PASSWORD TURNS`.

Prints {"ours_s": [...], "bare_s": [...]}.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")
django.setup()

from pyVim.connect import Disconnect, SmartConnect  # noqa: E402  Django must be set up before its models are there
from pyVmomi import vim, vmodl  # noqa: E402

from infra.drivers.base import Connection  # noqa: E402
from infra.drivers.vsphere.driver import VsphereDriver  # noqa: E402
from infra.drivers.vsphere.inventory import EVERYTHING  # noqa: E402
from tests import sites  # noqa: E402

Collector = vmodl.query.PropertyCollector


def measured(way: Connection, turns: int) -> dict[str, list[float]]:
    """Ours reads everything and writes down what differs, which is nothing after the first look; alternating."""
    driver = VsphereDriver(way)
    site = sites.registered("large", found=driver.inventory())
    ours_s, bare_s = [], []
    for _ in range(turns):
        ours_s.append(_timed(lambda: sites.observe(site, driver.inventory())))
        bare = Bare(way)  # logged in anew: a session that was idle for long may have been ended
        bare_s.append(_timed(bare.read))
        bare.close()
        print(f"ours {ours_s[-1]:.2f} s, bare {bare_s[-1]:.2f} s", file=sys.stderr)
    driver.close()
    return {"ours_s": ours_s, "bare_s": bare_s}


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class Bare:
    """pyVmomi, one container view and one read."""

    def __init__(self, way: Connection) -> None:
        host, _, port = way.endpoint.removeprefix("https://").partition("/")[0].partition(":")
        context = ssl.create_default_context(cadata=way.ca_pem)
        self._si = SmartConnect(host=host, port=int(port), user=way.username, pwd=way.password, sslContext=context)

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


if __name__ == "__main__":
    endpoint, ca_file, username, password, turns = sys.argv[1:]
    found = measured(
        Connection("vsphere", endpoint, username, password, Path(ca_file).read_text(), "bench"), int(turns)
    )
    print(json.dumps(found))
