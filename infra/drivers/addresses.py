"""Addresses that guests tell, as facts show them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address


def reachable(texts: Iterable[str]) -> tuple[str, ...]:
    """Each once, IPv4 first, else in the order in which they were told; link-local ones are left out."""
    read = [one for text in texts if (one := _read(text)) is not None]
    return tuple(str(one) for one in sorted(dict.fromkeys(read), key=lambda one: one.version))


def _read(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return None if found.is_link_local or found.is_unspecified else found
