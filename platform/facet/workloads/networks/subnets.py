"""What a network may be like: its subnet, its gateway, its servers of names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from facet.rest.problems import Invalid

Subnet = IPv4Network | IPv6Network
WIDEST = {4: 8, 6: 48}
NARROWEST = {4: 29, 6: 120}


def subnet(cidr: str) -> Subnet:
    """A subnet written as such. Raises Invalid."""
    try:
        found = ip_network(cidr)
    except ValueError:
        raise Invalid(
            {"cidr": "A subnet is like 10.0.0.0/24, its first address and the length of its prefix."}
        ) from None
    if "/" not in cidr or not WIDEST[found.version] <= found.prefixlen <= NARROWEST[found.version]:
        sentence = f"A prefix from /{WIDEST[found.version]} to /{NARROWEST[found.version]}."
        raise Invalid({"cidr": sentence})
    if any((found.is_multicast, found.is_loopback, found.is_unspecified, found.is_link_local)):
        raise Invalid({"cidr": "These are no addresses that a machine can have."})
    return found


def gateway(within: Subnet, text: str) -> str | None:
    """One of the subnet's addresses, or ("") none. Raises Invalid."""
    if not text:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        raise Invalid({"gateway": "An address is like 10.0.0.1."}) from None
    outer = (within.network_address, within.broadcast_address)
    if "%" in text or found.version != within.version or found not in within or found in outer:
        raise Invalid({"gateway": f"{found} is no address for a machine of {within}."})
    return str(found)


def servers(texts: Sequence[str]) -> list[str]:
    """Addresses of servers of names, each once. Raises Invalid."""
    found: dict[str, None] = {}
    for number, text in enumerate(texts):
        try:
            address = ip_address(text)
        except ValueError:
            raise Invalid({f"dns.{number}": "An address is like 10.0.0.53."}) from None
        if "%" in text or address.is_multicast or address.is_unspecified:
            raise Invalid({f"dns.{number}": f"{address} is no address of a server."})
        found[str(address)] = None
    return list(found)


def check_apart(new: Subnet, others: Iterable[tuple[str, str]]) -> None:
    """Raises Invalid where the subnet overlaps another, given as (name, cidr)."""
    for name, cidr in others:
        other = ip_network(cidr)
        if other.version == new.version and new.overlaps(other):  # type: ignore[arg-type]  # of one version, both
            raise Invalid({"cidr": f"It overlaps {cidr}, which is network {name}'s."})
