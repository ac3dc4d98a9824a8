"""What a complete look at a site says, written down: hosts, datastores, networks, templates, and who is not ours.

At most 100 rows a transaction; a row that is right already is not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from . import headroom, unmanaged
from .apart import Standing
from .drivers.base import Inventory, NetworkFacts, TemplateFacts
from .models import PhysicalNetwork, Site, Template
from .room import Transaction, slices, write_datastores, write_hosts, write_missing


def write(site: Site, found: Inventory, transaction: Transaction, looked_at: datetime) -> None:
    """Make the site's rows say what was found by a look that began at `looked_at`. `transaction` opens a short one."""
    standing = Standing(site.id, found.vms, found.templates)
    write_hosts(site, found.hosts, standing, transaction, looked_at)
    write_datastores(site, found.datastores, standing, transaction)
    write_missing(site, found, transaction, looked_at)
    unmanaged.write_complete(site, found.vms, found.templates, transaction, looked_at)
    headroom.follow(site, transaction)
    keep(PhysicalNetwork, site, {fact.ref: _network(fact) for fact in found.networks}, transaction)
    keep(Template, site, {fact.ref: _template(fact) for fact in found.templates}, transaction)


# --- networks and templates ----------------------------------------------------------------------------------------


def _network(fact: NetworkFacts) -> dict[str, Any]:
    return {"name": fact.name, "kind": fact.kind, "vlan": fact.vlan}


def _template(fact: TemplateFacts) -> dict[str, Any]:
    return {
        "name": fact.name,
        "path": fact.path,
        "vcpu": fact.vcpu,
        "memory_mib": fact.memory_mib,
        "disk_gib": fact.disk_gib,
        "is_template": fact.is_template,
        "kind": fact.kind,
        "datastore_refs": list(fact.datastore_refs),
    }


def keep(model: type[Any], site: Site, found: Mapping[str, dict[str, Any]], transaction: Transaction) -> None:
    """Rows by ref: made, changed where they differ, and marked as away where the look does not show them."""
    with transaction():
        known = {row.ref: row for row in model.objects.filter(site=site)}
    new = [model(site=site, ref=ref, **columns) for ref, columns in found.items() if ref not in known]
    changed = [
        (known[ref].id, columns | {"present": True})
        for ref, columns in sorted(found.items())
        if ref in known and _differs(known[ref], columns)
    ]
    away = [row.id for ref, row in sorted(known.items()) if row.present and ref not in found]
    for rows in slices(new):
        with transaction():
            model.objects.bulk_create(rows, ignore_conflicts=True)
    for part in slices(changed):
        with transaction():
            for id, columns in part:
                model.objects.filter(pk=id).update(**columns)
    for ids in slices(away):
        with transaction():
            model.objects.filter(pk__in=ids).update(present=False)


def _differs(row: Any, columns: Mapping[str, Any]) -> bool:
    return not row.present or any(getattr(row, name) != value for name, value in columns.items())
