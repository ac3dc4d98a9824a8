"""Addresses of a project's network, each given out once: to a NIC, or kept as a VIP.

Whoever gives some holds the network's row (see `held`), so that givers take turns; the unique constraint is the last
wall. On a network with DHCP the site gives addresses, and Facet keeps only those that somebody names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, cast
from uuid import UUID

from facet.operations import events
from facet.rest.access import Actor
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken

from .models import Address, Network, Nic, ObjectPhase

Ip = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Wish:
    """An address that is asked for: this one, or ("") the lowest that is free. For a NIC, or kept under a name.

    `field`: what a refusal names, where the caller's body said the address.
    """

    address: str = ""
    nic: Nic | None = None
    name: str = ""
    field: str = "address"


# --- which ---------------------------------------------------------------------------------------------------------


def ends(subnet: Subnet) -> tuple[int, int]:
    """The first and the last address that a machine may have: not the network's own, nor IPv4's broadcast.

    A subnet of two addresses or one has neither (RFC 3021).
    """
    first, last = int(subnet.network_address), int(subnet.broadcast_address)
    if subnet.num_addresses <= 2:
        return first, last
    return first + 1, last - (subnet.version == 4)


def free(subnet: Subnet, besides: Collection[int]) -> Iterator[Ip]:
    """Those that are free, the lowest first. `besides`: what is given out already, or is the gateway's."""
    kind = IPv4Address if subnet.version == 4 else IPv6Address
    first, last = ends(subnet)
    return (kind(number) for number in range(first, last + 1) if number not in besides)


def named(network: Network, wish: Wish) -> Ip:
    """The address that is asked for by name. Raises Invalid where no machine of the network may have it."""
    subnet = cast(Subnet, ip_network(network.cidr))
    try:
        found = ip_address(wish.address)
    except ValueError:
        raise Invalid({wish.field: "An address is like 10.0.0.5."}) from None
    first, last = ends(subnet)
    if found.version != subnet.version or "%" in wish.address or not first <= int(found) <= last:
        raise Invalid({wish.field: f"{found} is no address for a machine of {network.name} ({network.cidr})."})
    if network.gateway and found == ip_address(network.gateway):
        raise Invalid({wish.field: f"{found} is the gateway of {network.name}."})
    return found


# --- giving and taking back ----------------------------------------------------------------------------------------


def held(network_ids: Iterable[UUID]) -> dict[UUID, Network]:
    """These networks, locked in one order. In a transaction. Raises Conflict where one takes nothing new."""
    wanted = sorted(set(network_ids))
    if not wanted:
        return {}
    rows = Network.objects.filter(pk__in=wanted, deleted_at=None).order_by("id").select_for_update(no_key=True)
    found = {network.id: network for network in rows}
    for id in wanted:
        if id not in found:
            raise Conflict("A network that this needs has just been deleted.", code="network_gone")
        check_open(found[id])
    return found


def check_open(network: Network) -> None:
    """Raises Conflict where a network takes nothing new."""
    if network.phase != ObjectPhase.READY:
        raise not_ready(network)


def not_ready(network: Network) -> Conflict:
    sentence = f"Network {network.name} takes nothing new: it is {network.phase}."
    return Conflict(sentence, code="network_not_ready")


def give(network: Network, wishes: Sequence[Wish]) -> list[Address]:
    """Give out these, those that are named first; the network's row is held. In a transaction, all or nothing.

    Raises Invalid for an address that is none of the network's, Conflict where it is taken or no other is left.
    """
    taken = {int(ip_address(text)) for text in network.addresses.values_list("address", flat=True)}
    given: dict[int, Ip] = {}
    for at, wish in enumerate(wishes):
        if wish.address:
            given[at] = named(network, wish)
            if int(given[at]) in taken:
                raise Conflict(f"{given[at]} of network {network.name} is given out.", code="address_taken")
            taken.add(int(given[at]))
    gateway = {int(ip_address(network.gateway))} if network.gateway else set()
    left = free(cast(Subnet, ip_network(network.cidr)), frozenset(taken | gateway))
    for at in range(len(wishes)):
        if at not in given:
            lowest = next(left, None)
            if lowest is None:
                sentence = f"Network {network.name} ({network.cidr}) has no address left."
                raise Conflict(sentence, code="addresses_exhausted")
            given[at] = lowest
    owner: dict[str, Any] = {"tenant_id": network.tenant_id, "project_id": network.project_id, "network": network}
    return Address.objects.bulk_create(
        [Address(**owner, address=str(given[at]), nic=wish.nic, name=wish.name) for at, wish in enumerate(wishes)]
    )


def keep(*, network: Network, name: str, address: str, by: Actor) -> Address:
    """Keep an address for whatever the project wants: a VIP, say. Raises NameTaken, Invalid, Conflict."""
    locked = held([network.pk])[network.pk]
    if locked.addresses.filter(name=name, nic=None).exists():
        raise NameTaken(f"{locked.name} keeps an address under the name {name}.")
    if locked.dhcp and not address:
        raise Invalid({"address": f"{locked.name} has a DHCP server: name an address that it gives to nobody."})
    [made] = give(locked, [Wish(address=address, name=name)])
    _tell("address.keep", made, by)
    return made


def drop(address: Address, *, by: Actor) -> None:
    """Give back one that was kept. Raises InUse while a NIC has it. In a transaction."""
    held_by_nic = Address.objects.filter(pk=address.pk).select_related("nic__vm").first()
    if held_by_nic is None:
        return
    if held_by_nic.nic is not None:
        vm = held_by_nic.nic.vm
        raise InUse(f"{address.address} is the address of VM {vm.name}.", holders=[{"kind": "vm", "name": vm.name}])
    Address.objects.filter(pk=address.pk, nic=None).delete()
    _tell("address.drop", address, by)


def _tell(verb: str, address: Address, by: Actor) -> None:
    network = address.network
    events.record(
        verb, by=by, kind="network", id=network.id, name=network.name, tenant_id=address.tenant_id,
        project_id=address.project_id, after={"address": address.address, "name": address.name},
    )  # fmt: skip
