"""VLANs for networks of projects' own: a zone's range, each tag handed out once at a time.

A tag is given back only after the site was seen without the network that had it.
"""

from __future__ import annotations

import re
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from facet.rest.problems import Conflict, InUse, Invalid, Problem

from .models import Vlan, Zone

FIRST, LAST = 1, 4094
SENTENCE = f'Tags from {FIRST} to {LAST}, such as "100-199,300".'
_PART = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)


def parse(text: str) -> set[int]:
    """ "100-199,300" -> its tags, both ends included. Raises Invalid."""
    tags: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _PART.fullmatch(part)
        if found is None:
            raise Invalid({"vlan_range": SENTENCE})
        low, high = int(found[1]), int(found[2] or found[1])
        if not FIRST <= low <= high <= LAST:
            raise Invalid({"vlan_range": SENTENCE})
        tags.update(range(low, high + 1))
    return tags


def change_range(zone: Zone, text: str) -> None:
    """Let the zone's rows be those of this range. Raises InUse for a tag that a network has, Conflict for overlaps."""
    wanted = parse(text)
    had = {row.tag: row for row in Vlan.objects.filter(zone=zone).order_by("id").select_for_update(no_key=True)}
    held = sorted(tag for tag, row in had.items() if row.holder and tag not in wanted)
    if held:
        raise InUse(
            f"{len(held)} VLANs outside the new range are in use, {held[0]} among them.",
            holders=[{"kind": "network", "id": str(had[tag].holder), "name": str(tag)} for tag in held[:20]],
        )
    Vlan.objects.filter(id__in=[row.id for row in had.values() if row.tag not in wanted]).delete()
    try:
        with transaction.atomic():
            new = sorted(wanted - set(had))
            Vlan.objects.bulk_create([Vlan(site_id=zone.site_id, zone=zone, tag=tag) for tag in new])
    except IntegrityError:
        raise Conflict("The VLAN range overlaps another zone's of this site.", code="range_overlaps") from None


def take(*, zone: Zone, holder: UUID, above: int = 0) -> int:
    """The lowest tag of the zone's that is free (and higher than `above`), now `holder`'s and its only one.

    Raises Problem(409, vlans_exhausted), having changed nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """select id, tag from infra_vlan where zone_id = %s and holder is null and tag > %s
               order by tag limit 1 for update skip locked""",
            [zone.id, above],
        )
        row = cursor.fetchone()
        if row is None:
            why = "has no VLAN left for a network" if zone.vlan_range else "has no VLANs for networks of projects' own"
            raise Problem(f"Zone {zone.name} {why}.", code="vlans_exhausted")
        cursor.execute("update infra_vlan set holder = null where holder = %s", [holder])
        cursor.execute("update infra_vlan set holder = %s where id = %s", [holder, row[0]])
    tag: int = row[1]
    return tag


def give_back(holder: UUID) -> None:
    """Free what `holder` has; nothing to do is done."""
    Vlan.objects.filter(holder=holder).update(holder=None)
