"""Networks that Facet makes at a site for projects, as rows beside those that stand there anyway."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connection

from .drivers.base import NetworkFacts
from .models import PhysicalNetwork, Zone

_REACHED = """
with reached as (select id from infra_host where site_id = %(site)s and ref = any(%(hosts)s)
                 and not network_refs @> to_jsonb(%(ref)s::text) order by id for no key update)
update infra_host h set network_refs = h.network_refs || to_jsonb(%(ref)s::text), changed = pg_current_xact_id(),
    seen_at = greatest(h.seen_at, now())
from reached where h.id = reached.id
"""


def stands(*, zone: Zone, seen: NetworkFacts, host_refs: Collection[str]) -> PhysicalNetwork:
    """Write down a network that was made for a project in a zone, and that these hosts reach it. Said twice it is one.

    In a transaction. VMs may be asked for on it at once, before the site is looked at as a whole again.
    """
    columns = {"name": seen.name, "kind": seen.kind, "vlan": seen.vlan, "present": True, "of_zone": zone}
    row, _ = PhysicalNetwork.objects.update_or_create(site_id=zone.site_id, ref=seen.ref, defaults=columns)
    with connection.cursor() as cursor:
        cursor.execute(_REACHED, {"site": zone.site_id, "hosts": list(host_refs), "ref": seen.ref})
    return row
