"""Network cards of VMs: what a request names, what stands in the rows, what the site and the guest are told.

A VM that names no card has one on the first network that its zone lends, and no row here; so have clusters' machines.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet
from django.db.models.functions import Coalesce

from facet.rest.problems import Invalid
from infra.drivers.base import VmSpec, mac_of_card
from infra.models import PhysicalNetwork, Zone
from tenants.models import Project

from . import addresses
from .models import VM, Address, Network, Nic

EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
Lent = Mapping[UUID, Sequence[PhysicalNetwork]]  # zone -> the networks that it lends


@dataclass(frozen=True)
class Wanted:
    """A card that is asked for: on a network of the project's own, or else on one that its zone lends."""

    field: str  # where the caller's body says it
    physical: PhysicalNetwork
    network: Network | None = None
    address: str = ""  # a fixed one; "": as the network gives them

    @property
    def given(self) -> bool:
        """Facet gives the address, and the guest is told."""
        return self.network is not None and (bool(self.address) or not self.network.dhcp)


# --- asking --------------------------------------------------------------------------------------------------------


def wanted(*, project: Project, zones: Sequence[Zone], lent: Lent, asked: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """The cards that a request names; a project's own network comes before one of the same name that is lent.

    Raises Invalid naming the field, Conflict for a network that takes nothing new.
    """
    if not asked:
        return []
    own = _own(project, [one["network"] for one in asked])
    found = []
    for at, one in enumerate(asked):
        field = f"nics.{at}"
        network = own.get(one["network"])
        if network is not None:
            found.append(_on_own(field, network, zones, one["address"]))
        else:
            found.append(_on_lent(field, one, zones, lent))
    return found


def _own(project: Project, names: Sequence[str]) -> dict[str, Network]:
    """By name and by id."""
    living = Network.objects.filter(project=project, deleted_at=None).select_related("physical", "zone")
    found = living.filter(Q(name__in=names) | Q(pk__in=[id for id in map(_id, names) if id is not None]))
    return {str(network.id): network for network in found} | {network.name: network for network in found}


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _on_own(field: str, network: Network, zones: Sequence[Zone], address: str) -> Wanted:
    if network.zone_id not in {zone.id for zone in zones}:
        sentence = f"Network {network.name} is in zone {network.zone.name}, which is none of those asked for."
        raise Invalid({f"{field}.network": sentence})
    addresses.check_open(network)
    if network.physical is None:
        raise addresses.not_ready(network)
    if address:
        addresses.named(network, addresses.Wish(address, field=f"{field}.address"))
        if network.dhcp:
            raise Invalid({f"{field}.address": f"The DHCP server of {network.name} gives its addresses."})
    return Wanted(field, network.physical, network, address)


def _on_lent(field: str, one: Mapping[str, Any], zones: Sequence[Zone], lent: Lent) -> Wanted:
    known = {net.id: net for zone in zones for net in lent[zone.id]}
    matching = [net for net in known.values() if one["network"] in (net.name, str(net.id))]
    if not matching:
        raise Invalid({f"{field}.network": f"There is no network {one['network']} here."})
    if len(matching) > 1:
        ids = ", ".join(str(net.id) for net in matching)
        raise Invalid({f"{field}.network": f"Several networks are named {one['network']}; their ids: {ids}."})
    if one["address"]:
        sentence = f"{matching[0].name} is lent: Facet knows no addresses of it to give."
        raise Invalid({f"{field}.address": sentence})
    return Wanted(field, matching[0])


def of_ask(cards: Sequence[Wanted], zones: Sequence[UUID], lent: Lent) -> dict[str, Any]:
    """What an ask says of networks and zones: every one that is named, in its zone; else one of those that are lent."""
    if not cards:
        return {"zones": tuple(zones), "networks": tuple({net.id: None for nets in lent.values() for net in nets})}
    own = {card.network.zone_id for card in cards if card.network is not None}
    within = tuple(zone for zone in zones if not own or own == {zone})
    if not within:
        raise Invalid({"nics": "The networks of one VM are networks of one zone."})
    return {"zones": within, "every_network": tuple(dict.fromkeys(card.physical.id for card in cards))}


def first(cards: Sequence[Wanted]) -> PhysicalNetwork | None:
    return cards[0].physical if cards else None


def save(vms: Sequence[VM], cards: Sequence[Wanted]) -> None:
    """The rows of new VMs' cards, with the addresses that their networks give. In a transaction, before the ledger.

    Raises Conflict where an address is taken, none is left, or a network takes nothing new.
    """
    for vm in vms:
        vm.nic_rows = []  # type: ignore[attr-defined]  # as `of` reads
    if not cards:
        return
    networks = addresses.held(card.network.id for card in cards if card.network is not None)
    made = [(card, _nic(vm, at, card)) for vm in vms for at, card in enumerate(cards)]
    Nic.objects.bulk_create([nic for _, nic in made])
    wishes: dict[UUID, list[addresses.Wish]] = defaultdict(list)
    for card, nic in made:
        if card.network is not None and card.given:
            wish = addresses.Wish(card.address, nic, field=f"{card.field}.address")
            wishes[card.network.id].append(wish)
    for id, wished in sorted(wishes.items()):
        addresses.give(networks[id], wished)
    for vm in vms:
        vm.nic_rows = [nic for _, nic in made if nic.vm_id == vm.id]  # type: ignore[attr-defined]


def _nic(vm: VM, order: int, card: Wanted) -> Nic:
    owner: dict[str, Any] = {"tenant_id": vm.tenant_id, "project_id": vm.project_id}
    physical = card.physical if card.network is None else None
    return Nic(**owner, vm=vm, order=order, network=card.network, physical=physical)


def give_back(vm_ids: Collection[UUID]) -> None:
    """Of VMs that were seen gone: their addresses are free again. In a transaction."""
    Address.objects.filter(nic__vm_id__in=list(vm_ids)).delete()
    Nic.objects.filter(vm_id__in=list(vm_ids)).delete()


# --- showing -------------------------------------------------------------------------------------------------------


def rows() -> Prefetch[Any]:
    """For prefetch_related of VMs: the rows of their cards, in order, with all that is told of them."""
    return Prefetch("nics", _read(), "nic_rows")


def _read() -> QuerySet[Nic]:
    return Nic.objects.select_related("network__physical", "physical", "given").order_by("order")


def of(vm: VM) -> list[Nic]:
    """The rows of a VM's cards; a VM that was read without them is asked for them."""
    found: list[Nic] | None = getattr(vm, "nic_rows", None)
    return list(_read().filter(vm=vm)) if found is None else found


def address_of(nic: Nic) -> str | None:
    """The one that was given to it."""
    given: Address | None = getattr(nic, "given", None)
    return given.address if given is not None else None


def shown(vm: VM) -> list[dict[str, str | None]]:
    """As answers show them."""
    cards = of(vm)
    if not cards:
        return [{"network": vm.network.name, "address_wanted": None}] if vm.network is not None else []
    return [{"network": _network(nic).name, "address_wanted": address_of(nic)} for nic in cards]


def _network(nic: Nic) -> Network | PhysicalNetwork:
    found: Network | PhysicalNetwork | None = nic.network or nic.physical
    if found is None:
        raise TypeError("a NIC is on a network: the constraint nic_on_one_network says so")
    return found


# --- for the site and the guest ------------------------------------------------------------------------------------


def wired(spec: VmSpec, vm: VM) -> VmSpec:
    """What is asked of the site for a VM (read with `rows`), with its cards and what its guest is told of them."""
    cards = of(vm)
    if not cards:
        return spec
    first, *more = map(_ref, cards)
    metadata = spec.metadata
    if more or address_of(cards[0]):
        metadata = json.dumps(json.loads(metadata) | {"network": {"version": 2, "ethernets": _ethernets(cards)}})
    return replace(spec, network_ref=first, more_networks=tuple(more), metadata=metadata)


def networks_of(vm_ids: Collection[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    """The networks of the site that VMs with cards of their own choice are on."""
    found: dict[UUID, dict[UUID, None]] = defaultdict(dict)
    on = Nic.objects.filter(vm_id__in=list(vm_ids)).annotate(net=Coalesce("physical_id", "network__physical_id"))
    for vm_id, net in on.exclude(net=None).order_by("vm_id", "order").values_list("vm_id", "net"):
        found[vm_id][net] = None
    return {vm_id: tuple(nets) for vm_id, nets in found.items()}


def _ref(nic: Nic) -> str:
    """Of the network as the site shows it; as it was made, where the site shows it no longer."""
    physical = nic.physical if nic.network is None else nic.network.physical
    if physical is not None:
        return str(physical.ref)
    return nic.network.ref if nic.network is not None else ""


def _ethernets(cards: Sequence[Nic]) -> dict[str, Any]:
    """Of several cards that have a gateway the first leads everywhere: two would be at odds."""
    found: dict[str, Any] = {}
    routed = False
    for nic in cards:
        name = f"eth{nic.order}"
        found[name] = {"match": {"macaddress": mac_of_card(nic.order)}, "set-name": name}
        address, network = address_of(nic), nic.network
        if address is None or network is None:
            found[name]["dhcp6" if network is not None and ip_network(network.cidr).version == 6 else "dhcp4"] = True
            continue
        found[name] |= _fixed(address, network, leads_everywhere=not routed)
        routed = routed or network.gateway is not None
    return found


def _fixed(address: str, network: Network, *, leads_everywhere: bool) -> dict[str, Any]:
    subnet = ip_network(network.cidr)
    card: dict[str, Any] = {"addresses": [f"{address}/{subnet.prefixlen}"]}
    if network.gateway and leads_everywhere:
        card["routes"] = [{"to": EVERYWHERE[subnet.version], "via": network.gateway}]
    if network.dns:
        card["nameservers"] = {"addresses": list(network.dns)}
    return card


def waits_for(vm: VM) -> list[str]:
    """Addresses that were given to it and that its guest has not told yet."""
    return [text for nic in of(vm) if (text := address_of(nic)) and text not in vm.addresses]
