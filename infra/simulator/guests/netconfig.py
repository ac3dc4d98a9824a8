"""Cloud-init's network configuration, version 2, read strictly: of its ethernets what Facet writes, and no more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Any

CARD_KEYS = {"match", "set-name", "dhcp4", "dhcp6", "addresses", "routes", "nameservers", "mtu"}
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class BadUserData(Exception):
    """What is wrong, with the key's path in front."""


@dataclass(frozen=True)
class Card:
    """What one card is told to be."""

    mac: str
    dhcp: bool
    addresses: tuple[str, ...]


def told(wanted: Sequence[Card] | None, macs: Sequence[str], leased: str) -> list[str]:
    """The addresses of a machine with these cards, in their order. `leased`: what DHCP gives to the first that asks.

    A machine that was told nothing asks DHCP; a card that no MAC of the configuration names is left as it is: down.
    """
    if wanted is None:
        return [leased]
    by_mac = {card.mac: card for card in wanted}
    named = [by_mac[mac] for mac in macs if mac in by_mac]
    asking = next((card for card in named if card.dhcp), None)
    return [text for card in named for text in ([leased] if card is asking else []) + list(card.addresses)]


def cards(config: Any) -> tuple[Card, ...]:
    """Raises BadUserData."""
    found = mapping("metadata.network", config, {"version", "ethernets"})
    if found.get("version") != 2:
        raise BadUserData(f"metadata.network.version: {found.get('version')!r} is not 2")
    ethernets = found.get("ethernets")
    if not isinstance(ethernets, dict) or not ethernets:
        raise BadUserData("metadata.network.ethernets: is no mapping of cards")
    return tuple(_card(f"metadata.network.ethernets.{name}", one) for name, one in ethernets.items())


def _card(where: str, said: Any) -> Card:
    found = mapping(where, said, CARD_KEYS)
    mac = mapping(f"{where}.match", found.get("match"), {"macaddress"}).get("macaddress")
    if not isinstance(mac, str) or not MAC.fullmatch(mac):
        raise BadUserData(f"{where}.match.macaddress: {mac!r} is no MAC")
    interfaces = [
        _interface(f"{where}.addresses[{at}]", one) for at, one in enumerate(_list(where, found, "addresses"))
    ]
    for at, route in enumerate(_list(where, found, "routes")):
        _check_route(f"{where}.routes[{at}]", route, interfaces)
    servers = mapping(f"{where}.nameservers", found.get("nameservers", {}), {"addresses", "search"})
    for at, one in enumerate(_list(where, servers, "addresses")):
        _parsed(f"{where}.nameservers.addresses[{at}]", ip_address, one)
    for key in ("dhcp4", "dhcp6"):
        if not isinstance(found.get(key, False), bool):
            raise BadUserData(f"{where}.{key}: is not true or false")
    dhcp = bool(found.get("dhcp4") or found.get("dhcp6"))
    return Card(mac, dhcp, tuple(str(one.ip) for one in interfaces))


def _interface(where: str, said: Any) -> IPv4Interface | IPv6Interface:
    if not isinstance(said, str) or "/" not in said:
        raise BadUserData(f"{where}: {said!r} is not an address with its prefix")
    found: IPv4Interface | IPv6Interface = _parsed(where, ip_interface, said)
    return found


def _check_route(where: str, said: Any, interfaces: Sequence[IPv4Interface | IPv6Interface]) -> None:
    """A gateway that no address of the card reaches is refused by the kernel."""
    route = mapping(where, said, {"to", "via"})
    _parsed(f"{where}.to", ip_network, route.get("to"))
    via = _parsed(f"{where}.via", ip_address, route.get("via"))
    if not any(via in one.network for one in interfaces):
        raise BadUserData(f"{where}.via: {via} is in no network of the card")


def _parsed(where: str, kind: Any, said: Any) -> Any:
    try:
        return kind(said) if isinstance(said, str) else kind("")
    except ValueError as error:
        raise BadUserData(f"{where}: {said!r} is not what belongs there") from error


def mapping(where: str, value: Any, keys: set[str]) -> dict[str, Any]:
    """A mapping with these keys and no others. Raises BadUserData."""
    if not isinstance(value, dict):
        raise BadUserData(f"{where}: is not a mapping")
    unknown = sorted(str(key) for key in value if key not in keys)
    if unknown:
        raise BadUserData(f"{where}: unknown key {', '.join(unknown)}")
    return value


def _list(where: str, found: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = found.get(key, [])
    if not isinstance(value, list):
        raise BadUserData(f"{where}.{key}: is not a list")
    return value
