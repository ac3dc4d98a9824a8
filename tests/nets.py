"""Projects' own networks for tests about what is on them: made by hand at a simulated site, and ready at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from facet.workloads.models import Address, Network, ObjectPhase
from infra import networks
from infra.drivers.base import NetworkFacts
from infra.models import Host, Zone
from tenants.models import Project
from tests.factories import as_system
from tests.ground import Ground


def own(land: Ground, name: str = "lan", cidr: str = "10.7.0.0/24", *, hosts: Sequence[str] | None = None,
        zone: int = 0, project: Project | None = None, **more: Any) -> Network:  # fmt: skip
    """A network of the project in a zone of the ground; `hosts` by name: those that it reaches, else all."""
    ref = land.site.by_hand.hand("network", name=name, hosts=hosts)["ref"]
    project = project or land.office.project
    with as_system():
        where = Zone.objects.get(name=land.zones[zone])
        reached = Host.objects.filter(site=where.site)
        refs = list((reached if hosts is None else reached.filter(name__in=hosts)).values_list("ref", flat=True))
        seen = NetworkFacts(ref, name, "network")
        return row(project, where, name, cidr, physical=networks.stands(zone=where, seen=seen, host_refs=refs), **more)


def row(project: Project, zone: Zone, name: str = "lan", cidr: str = "10.7.0.0/24", **more: Any) -> Network:
    """Its row alone. In a context."""
    about = {"gateway": cidr.replace(".0/", ".1/").partition("/")[0], "phase": ObjectPhase.READY} | more
    made: Network = Network.objects.create(
        tenant_id=project.tenant_id, project=project, zone=zone, name=name, cidr=cidr, **about
    )
    return made


def given(network: Network | UUID) -> list[str]:
    """The addresses that a network has given out, lowest first."""
    with as_system():
        rows = Address.objects.filter(network=network).order_by("address")
        return list(rows.values_list("address", flat=True))
