"""Addresses for cluster endpoints: a zone's range, each address handed out once at a time."""

from __future__ import annotations

import ipaddress
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from facet.rest.problems import Conflict, InUse, Invalid, Problem

from .models import Endpoint, Site, Zone

MOST = 4096


def parse(text: str) -> list[ipaddress.IPv4Address]:
    """ "a.b.c.d-a.b.c.e" -> its addresses, both ends included. Raises Invalid."""
    first, dash, last = text.partition("-")
    try:
        low, high = ipaddress.IPv4Address(first.strip()), ipaddress.IPv4Address(last.strip() if dash else first.strip())
    except ValueError:
        raise Invalid({"endpoint_range": "Two IPv4 addresses: a.b.c.d-a.b.c.e."}) from None
    count = int(high) - int(low) + 1
    if not 1 <= count <= MOST:
        raise Invalid({"endpoint_range": f"1 to {MOST} addresses, the lower one first."})
    if any(end.is_multicast or end.is_unspecified or end.is_reserved for end in (low, high)):
        raise Invalid({"endpoint_range": "These are no addresses that a machine can have."})
    return [low + offset for offset in range(count)]


def check_at(site: Site, addresses: list[ipaddress.IPv4Address]) -> None:
    """A simulator answers on addresses of its own network alone. Raises Invalid for others."""
    if not site.address_network:
        return
    base = ipaddress.IPv4Network(site.address_network).network_address
    first, last = base + (1 << 8), base + ((16 << 8) - 1)
    if addresses[0] < first or addresses[-1] > last:
        raise Invalid({"endpoint_range": f"Endpoints of site {site.name} lie in {first}-{last}."})


def propose(site: Site) -> str:
    """A range for a zone that named none: the next free block of a simulator's own network; '' where there is none."""
    if not site.address_network:
        return ""
    base = ipaddress.IPv4Network(site.address_network).network_address
    taken = {
        int(ipaddress.IPv4Address(address)) >> 8
        for address in Endpoint.objects.filter(site=site).values_list("address", flat=True)
    }
    for block in range(1, 16):
        low = int(base) + (block << 8)
        if low >> 8 not in taken:
            return f"{ipaddress.IPv4Address(low + 10)}-{ipaddress.IPv4Address(low + 250)}"
    return ""


def open_range(zone: Zone) -> None:
    """Write the rows of the zone's range. Raises Conflict where it overlaps another zone's."""
    if zone.endpoint_range:
        _open(zone, parse(zone.endpoint_range))


def change_range(zone: Zone, text: str) -> None:
    """Let the zone's rows be those of another range. Raises Conflict for an address that a cluster has."""
    wanted = {str(address) for address in parse(text)} if text else set()
    rows = Endpoint.objects.filter(zone=zone).order_by("id").select_for_update(no_key=True)
    had = {row.address: row for row in rows}
    held = [row.address for row in had.values() if row.holder and row.address not in wanted]
    if held:
        raise InUse(
            f"{len(held)} addresses outside the new range are in use, {held[0]} among them.",
            holders=[{"kind": "cluster", "id": str(had[address].holder), "name": address} for address in held[:20]],
        )
    Endpoint.objects.filter(id__in=[row.id for row in had.values() if row.address not in wanted]).delete()
    _open(zone, [ipaddress.IPv4Address(address) for address in wanted - set(had)])


def _open(zone: Zone, addresses: list[ipaddress.IPv4Address]) -> None:
    if not addresses:
        return
    addresses = sorted(addresses)
    check_at(zone.site, addresses)
    try:
        with transaction.atomic():
            Endpoint.objects.bulk_create(
                [Endpoint(site=zone.site, zone=zone, address=str(address)) for address in addresses]
            )
    except IntegrityError:
        raise Conflict("The endpoint range overlaps another zone's of this site.", code="range_overlaps") from None


def take(*, zone_ids: list[UUID], holder: UUID) -> str:
    """One free address out of these zones' ranges, now `holder`'s, or the one that it has already.

    Raises Problem(409, endpoints_exhausted).
    """
    known = Endpoint.objects.filter(holder=holder).values_list("address", flat=True).first()
    if known is not None:
        return known
    with connection.cursor() as cursor:
        cursor.execute(
            """update infra_endpoint set holder = %s where id = (
                   select id from infra_endpoint where zone_id = any(%s) and holder is null
                   order by address limit 1 for update skip locked)
               returning host(address)""",
            [holder, zone_ids],
        )
        row = cursor.fetchone()
    if row is None:
        raise Problem("No address is left in the endpoint range of these zones.", code="endpoints_exhausted")
    address: str = row[0]
    return address


def give_back(holder: UUID) -> None:
    """Free what `holder` has; nothing to do is done."""
    Endpoint.objects.filter(holder=holder).update(holder=None)
