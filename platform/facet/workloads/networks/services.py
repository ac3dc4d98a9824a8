"""What teams do with networks of their own: ask, change, delete. One verb, one transaction, in the caller's context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken
from infra import privileges, vlans
from infra import services as infra
from infra.models import Zone, ZonePhase
from tenants import quota
from tenants.models import Project

from ..models import Firewall, Network, Nic, ObjectPhase
from . import subnets

KIND = "network"
SHOWN = 20
Check = Callable[[Network], None]


def target(network: Network) -> operations.Target:
    return operations.Target(
        KIND, network.id, network.name, network.tenant_id, network.project_id, network.zone.site_id
    )


def wake_network(network: Network) -> None:
    wake(KIND, network.id, tenant_id=network.tenant_id, site_id=network.zone.site_id)


def hold_project(project: Project) -> Firewall:
    """Whoever changes which networks a project has, or its rules, holds this row: they take turns."""
    owner = {"project_id": project.id, "tenant_id": project.tenant_id}
    Firewall.objects.bulk_create([Firewall(**owner)], ignore_conflicts=True)
    return Firewall.objects.select_for_update(no_key=True).get(pk=project.id)


def create_network(
    *, project: Project, name: str, zone: str, cidr: str, gateway: str, dhcp: bool, dns: Sequence[str], by: Actor
) -> tuple[Network, Operation]:
    """A network with a VLAN of its own in a zone; a worker makes it at the site.

    Raises Invalid naming the field, NameTaken, Conflict (zone_not_active, vlans_exhausted, quota_exceeded).
    """
    subnet = subnets.subnet(cidr)
    place = _open_zone(zone)
    hold_project(project)
    living = Network.objects.filter(project=project, deleted_at=None)
    subnets.check_apart(subnet, living.values_list("name", "cidr"))
    network = Network(
        id=uuid7(), tenant_id=project.tenant_id, project=project, zone=place, name=name, cidr=str(subnet),
        gateway=subnets.gateway(subnet, gateway), dhcp=dhcp, dns=subnets.servers(dns),
    )  # fmt: skip
    network.vlan = vlans.take(zone=place, holder=network.id)
    try:
        with transaction.atomic():
            network.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(f"{project.name} has a network named {name}.") from None
    quota.take(tenant_id=project.tenant_id, project_id=project.id, amounts=[(place.id, "networks", 1)])
    operation = operations.start("network.create", target=target(network), by=by, first=True)
    wake_network(network)
    return network, operation


def _open_zone(name: str) -> Zone:
    """A zone that takes something new, held so that it is not taken apart meanwhile."""
    found = infra.zone_by_name(name)
    zone = Zone.objects.select_for_update(no_key=True, of=("self",)).select_related("site").get(pk=found.pk)
    if zone.phase != ZonePhase.ACTIVE or zone.deleted_at is not None:
        raise Conflict(f"Zone {zone.name} takes nothing new: it is {zone.phase}.", code="zone_not_active")
    privileges.require(zone.site, "network")
    return zone


def locked(network: Network, check: Check | None) -> Network:
    """The row, held. `check` judges it. Raises Conflict where it is being deleted."""
    rows = Network.objects.select_for_update(no_key=True, of=("self",)).select_related("zone__site", "project__tenant")
    found = rows.get(pk=network.pk)
    if check is not None:
        check(found)
    if found.deleted_at is not None:
        raise Conflict(f"Network {found.name} has just been deleted.")
    return found


def update_network(
    *, network: Network, changes: dict[str, Any], by: Actor, check: Check | None = None
) -> tuple[Network, Operation]:
    """Another name, gateway or servers of names, for VMs to come; the VLAN and the subnet stay."""
    network = locked(network, check)
    if network.phase == ObjectPhase.DELETING:
        raise Conflict(f"Network {network.name} is being deleted.")
    columns: dict[str, Any] = {key: changes[key] for key in ("name",) if key in changes}
    subnet = subnets.subnet(network.cidr)
    if "dns" in changes:
        columns["dns"] = subnets.servers(changes["dns"])
    if "gateway" in changes:
        columns["gateway"] = subnets.gateway(subnet, changes["gateway"])
        _check_free(network, columns["gateway"])
    generation = network.generation + 1
    try:
        with transaction.atomic():
            Network.objects.filter(pk=network.pk).update(**columns, generation=generation)
    except IntegrityError:
        raise NameTaken(f"{network.project.name} has a network named {changes['name']}.") from None
    for column, value in (columns | {"generation": generation}).items():
        setattr(network, column, value)
    operation = operations.start("network.update", target=target(network), by=by, generation=generation)
    wake_network(network)
    return network, operation


def _check_free(network: Network, gateway: str | None) -> None:
    if gateway is None:
        return
    given = {ip_address(text) for text in network.addresses.values_list("address", flat=True)}
    if ip_address(gateway) in given:
        raise Invalid({"gateway": f"{gateway} of network {network.name} is given out."})


def delete_network(*, network: Network, by: Actor, check: Check | None = None) -> Operation:
    """Take it away; its VLAN returns once the site was seen without it. Said twice, it is one delete.

    Raises InUse while VMs are on it: who puts one there holds the network's row and sees its phase.
    """
    network = locked(network, check)
    if network.phase == ObjectPhase.DELETING:
        under_way = operations.open_ones(KIND, network.id).filter(verb="network.delete").first()
        if under_way is not None:
            wake_network(network)
            found: Operation = under_way
            return found
    on_it = Nic.objects.filter(network=network).select_related("vm").order_by("vm__name", "id")[:SHOWN]
    users = {nic.vm.id: nic.vm.name for nic in on_it}
    if users:
        holders = [{"kind": "vm", "id": str(id), "name": name} for id, name in users.items()]
        raise InUse(f"VMs are on network {network.name}: {', '.join(users.values())}.", holders=holders)
    generation = network.generation + 1
    Network.objects.filter(pk=network.pk).update(
        phase=ObjectPhase.DELETING, delete_asked_at=timezone.now(), generation=generation, reason=None
    )
    operation = operations.start("network.delete", target=target(network), by=by, generation=generation)
    wake_network(network)
    return operation


def cancel_create(operation: Operation, by: Actor) -> None:
    """Taking back a create is a delete."""
    delete_network(network=Network.objects.get(pk=operation.target_id), by=by)
