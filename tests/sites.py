"""Sites for tests: rows made of facts, or a real vCenter API behind them; and a worker that takes what is due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone
from structlog.stdlib import ProcessorFormatter

from facet.operations import engine
from facet.operations.models import Wakeup
from facet.rest.access import SYSTEM
from infra import capacity, inventory, services
from infra.drivers.base import (
    DatastoreFacts,
    HostFacts,
    HostState,
    Inventory,
    NetworkFacts,
    Power,
    TemplateFacts,
    VmFacts,
)
from infra.models import Host, Site, SitePhase, Zone
from tests.client import Answer, Api
from tests.factories import as_system
from tests.vcsim.run import Vcsim

PASSWORD = "a vCenter's password"


def host(number: int, *, rack: int = 1, **changes: Any) -> HostFacts:
    made = HostFacts(
        ref=f"host-{number}",
        name=f"host-{number}.example.org",
        compute_ref=f"domain-c{rack}",
        vsphere_cluster=f"rack-{rack}",
        cpu_cores=16,
        core_mhz=2600,
        memory_mib=65536,
        state=HostState.UP,
        labels={"rack": f"r{rack}"},
        datastore_refs=("datastore-1",),
        network_refs=("network-1",),
    )
    return replace(made, **changes)


def vm(host_ref: str, *, key: UUID | None = None, **changes: Any) -> VmFacts:
    key = key or uuid4()
    made = VmFacts(
        ref=f"vm-{key.hex[-8:]}",
        key=key,
        name=f"vm-{key.hex[-8:]}",
        host_ref=host_ref,
        vcpu=4,
        memory_mib=8192,
        disk_gib=40,
        power=Power.ON,
        datastore_refs=("datastore-1",),
    )
    return replace(made, **changes)


def store(number: int = 1, *, free_gib: int = 1000, **changes: Any) -> DatastoreFacts:
    return replace(DatastoreFacts(f"datastore-{number}", f"ssd-{number}", "vmfs", 1000, free_gib), **changes)


def world(hosts: Iterable[HostFacts] = (), vms: Iterable[VmFacts] = (), **changes: Any) -> Inventory:
    """Everything at a site of our making."""
    found = Inventory(
        hosts=tuple(hosts) or (host(1), host(2), host(3, rack=2)),
        datastores=(store(1), store(2)),
        networks=(
            NetworkFacts("network-1", "VM Network", "network"),
            NetworkFacts("network-2", "lan", "distributed", 7),
        ),
        templates=(TemplateFacts("vm-100", "kube-v1.34", "/DC/vm/kube-v1.34", 2, 2048, 10),),
        vms=tuple(vms),
        cursor="1",
    )
    return replace(found, **changes)


def observe(site: Site, found: Inventory) -> None:
    """What a complete look would write."""
    inventory.write(site, found, as_system, timezone.now())


def registered(name: str = "dc1", found: Inventory | None = None, **changes: Any) -> Site:
    """A site that has been looked at once; nothing answers at its address."""
    with as_system():
        site, _ = services.add_site(
            name=name, driver="vsphere", endpoint="https://127.0.0.1:9/sdk", username="u", password=PASSWORD,
            ca_pem="", by=SYSTEM,
        )  # fmt: skip
        Site.objects.filter(pk=site.pk).update(phase=SitePhase.ACTIVE, **changes)
        Wakeup.objects.all().delete()
    observe(site, found or world())
    site.refresh_from_db()
    return site


def carved(site: Site, name: str = "az1", rack: int = 1, **changes: Any) -> Zone:
    """A zone that stands, as its pass would have left it."""
    with as_system():
        zone, _ = services.create_zone(
            site=site, name=name, selector={"vsphere_cluster": f"rack-{rack}"}, datastores=["ssd-1"],
            networks=["VM Network"], endpoint_range="", cpu_overcommit=4, memory_overcommit=1, by=SYSTEM,
        )  # fmt: skip
        Zone.objects.filter(pk=zone.pk).update(phase="active", **changes)
        Wakeup.objects.all().delete()
        zone.refresh_from_db()
        capacity.refresh_hosts(zone)
    return zone


def claim(host_name: str, vcpu: int = 4, memory_mib: int = 8192) -> None:
    """Claims on a host as the ledger keeps them."""
    with as_system():
        Host.objects.filter(name=host_name).update(vcpu_claimed=vcpu, memory_claimed_mib=memory_mib)


def work(until: Callable[[], Any] | None = None, most: int = 50) -> None:
    """Be the worker: take what is due until nothing is, or until it is as wished."""
    for _ in range(most):
        if (until is not None and until()) or not engine.take_next():
            return


@contextmanager
def logged() -> Iterator[StringIO]:
    """Everything that is logged meanwhile, down to the libraries' own, as the log shows it."""
    root = logging.getLogger()
    text, level = StringIO(), root.level
    handler = logging.StreamHandler(text)
    handler.setFormatter(next(one.formatter for one in root.handlers if isinstance(one.formatter, ProcessorFormatter)))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def add_vcenter(api: Api, vcsim: Vcsim, name: str = "dc1", **changes: Any) -> Answer:
    body = {
        "name": name, "driver": "vsphere", "endpoint": vcsim.endpoint, "username": vcsim.username,
        "password": vcsim.password, "ca_pem": vcsim.ca_pem,
    }  # fmt: skip
    return api.post("sites", body | changes)
