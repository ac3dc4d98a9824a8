"""What IT does with infrastructure: one verb, one transaction. Called inside the caller's context."""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from facet.operations import circuits, engine, events
from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest import secrets
from facet.rest.access import Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken

from . import budgets, capacity, endpoints, outside, policies, privileges, vlans
from .models import (
    Datastore,
    DriftPolicy,
    Host,
    PhysicalNetwork,
    Placement,
    Site,
    SitePhase,
    StorageClass,
    Zone,
    ZonePhase,
)

LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
HOST = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*\.?", re.IGNORECASE)
DRIVERS = ("simulator", "vsphere")
MOST_HOSTS = 1000
COLUMNS = (
    "cpu_overcommit", "memory_overcommit", "failover_hosts", "drift_policy", "selector", "endpoint_range",
    "vlan_range", "switch",
)  # fmt: skip


def target(found: Site | Zone) -> operations.Target:
    kind = "site" if isinstance(found, Site) else "zone"
    site_id = found.id if isinstance(found, Site) else found.site_id
    return operations.Target(kind=kind, id=found.id, name=found.name, site_id=site_id)


# --- sites ---------------------------------------------------------------------------------------------------------


def check_connection(*, driver: str, endpoint: str, ca_pem: str) -> str:
    """The CA, its certificates alone. Raises Invalid for what cannot be a way to a site."""
    try:
        parts = urlsplit(endpoint)
        known = _is_host(parts.hostname or "") and parts.port != 0 and parts.scheme in ("http", "https")
    except ValueError:
        known = False
    if not known or not endpoint.isprintable() or " " in endpoint or parts.query or parts.fragment:
        raise Invalid({"endpoint": "An address such as https://vcenter.example.org/sdk."})
    if "@" in parts.netloc:
        raise Invalid({"endpoint": "User name and password have fields of their own, where the password is sealed."})
    if driver == "vsphere" and parts.scheme != "https":
        raise Invalid({"endpoint": "A vCenter is reached by https, always verified."})
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "simulator"):
        raise Invalid({"endpoint": "Without TLS only the simulator, and only on this machine or its own network."})
    return certificates(ca_pem)


def _is_host(name: str) -> bool:
    """An address, or a DNS name, in letters of its own too. May raise ValueError for what is neither."""
    if ":" in name:
        return ip_address(name).version == 6
    return HOST.fullmatch(name.encode("idna").decode()) is not None


def certificates(pem: str) -> str:
    """The certificates of a PEM text and nothing else of it. Raises Invalid."""
    if not pem.strip():
        return ""
    if "PRIVATE KEY" in pem:
        raise Invalid({"ca_pem": "This holds a private key. The CA's certificate alone is wanted."})
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)
    except ValueError:
        raise Invalid({"ca_pem": "Not a certificate in PEM form."}) from None


def add_site(
    *,
    name: str,
    driver: str,
    endpoint: str,
    username: str,
    password: str,
    ca_pem: str,
    by: Actor,
    budget: int | None = None,
) -> tuple[Site, Operation]:
    """Keep the way to a site, its password sealed; a worker connects and takes its inventory."""
    ca_pem = check_connection(driver=driver, endpoint=endpoint, ca_pem=ca_pem)
    site = Site(id=uuid7(), name=name, driver=driver, endpoint=endpoint, username=username, ca_pem=ca_pem)
    site.budget = budget or settings.FACET_SITE_BUDGET
    site.password_sealed = secrets.seal(password.encode(), owner=outside.owner(site.id))
    try:
        with transaction.atomic():
            site.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(f"A site named {name} exists.") from None
    operation = operations.start("site.add", target=target(site), by=by)
    wake("site", site.id, site_id=site.id)
    return site, operation


def update_site(*, site: Site, changes: dict[str, Any], by: Actor) -> tuple[Site, Operation]:
    """Another way to the same site. A new generation makes every process open new sessions."""
    changes = dict(changes)
    ca_pem = check_connection(
        driver=site.driver,
        endpoint=changes.get("endpoint", site.endpoint),
        ca_pem=changes.get("ca_pem", site.ca_pem),
    )
    password = changes.pop("password", None)
    if password is not None:
        changes["password_sealed"] = secrets.seal(password.encode(), owner=outside.owner(site.id))
    if "budget" in changes:
        budgets.check(site, changes["budget"])
    living = Site.objects.filter(pk=site.pk, generation=site.generation, deleted_at=None)
    if not living.exclude(phase=SitePhase.DELETING).update(
        **changes | {"ca_pem": ca_pem, "generation": site.generation + 1}
    ):
        raise Conflict("Someone else changed the site at this moment. Look again.")
    site.refresh_from_db()
    operation = operations.start("site.update", target=target(site), by=by, generation=site.generation)
    circuits.close(site.id)  # what kept it from answering may be mended: it is tried at once
    wake("site", site.id, site_id=site.id)
    return site, operation


def sync_site(*, site: Site, by: Actor) -> Operation:
    """Ask for a complete look now."""
    _standing(site)
    operation = operations.start("site.sync", target=target(site), by=by, generation=site.generation)
    wake("site", site.id, site_id=site.id)
    return operation


def resume_site(*, site: Site, by: Actor) -> Operation:
    """A person has looked at a site that is held back: carry on with what is there, rebuild and remove as needed."""
    site = _standing(site)
    changes: dict[str, Any] = {"held_back": False}
    if (site.reason or {}).get("code") == "another_site":  # whoever answers there now is the site
        changes["instance_id"] = ""
    Site.objects.filter(pk=site.pk).update(**changes)
    events.record("site.resumed", by=by, kind="site", id=site.id, name=site.name, before={"held_back": site.held_back})
    return sync_site(site=site, by=by)


def delete_site(*, site: Site, by: Actor) -> Operation:
    """Forget a site that no zone is carved from. Nothing at the site is touched. Said twice, it is one delete."""
    site = Site.objects.select_for_update(no_key=True).get(pk=site.pk)
    zones = list(Zone.objects.filter(site=site, deleted_at=None).values_list("name", flat=True))
    if zones:
        raise InUse(
            f"Zones are carved from it: {', '.join(zones)}.", holders=[{"kind": "zone", "name": z} for z in zones]
        )
    return _delete(site, "site.delete", SitePhase.DELETING, by)


def _standing(site: Site) -> Site:
    """The site, locked. Raises Conflict for one that is being deleted."""
    site = Site.objects.select_for_update(no_key=True).get(pk=site.pk)
    if site.phase == SitePhase.DELETING or site.deleted_at is not None:
        raise Conflict(f"Site {site.name} is being deleted.")
    return site


def _delete(found: Site | Zone, verb: str, phase: str, by: Actor) -> Operation:
    """A new generation in phase deleting: what a pass that is under way finds out counts for the old one only."""
    asked = target(found)
    if found.phase == phase:
        under_way = operations.open_ones(asked.kind, found.id).filter(verb=verb).first()
        if under_way is not None:
            wake(asked.kind, found.id, site_id=asked.site_id)
            return under_way
    generation = found.generation + 1
    type(found)._default_manager.filter(pk=found.pk).update(phase=phase, generation=generation)
    operation = operations.start(verb, target=asked, by=by, generation=generation)
    wake(asked.kind, found.id, site_id=asked.site_id)
    return operation


# --- zones ---------------------------------------------------------------------------------------------------------


def selected(site: Site, selector: dict[str, Any]) -> QuerySet[Host]:
    """The hosts that a selector names. Raises Invalid for a selector of unknown form, or one that names nothing."""
    match selector:
        case {"vsphere_cluster": str(name), **rest} if not rest and name:
            pass
        case {"hosts": list(names), **rest} if not rest and names and all(isinstance(n, str) for n in names):
            _check_hosts(site, names)
        case {"label": str(label), **rest} if not rest and label.partition("=")[0] and "=" in label:
            pass
        case _:
            raise Invalid({"selector": 'One of {"vsphere_cluster": name}, {"hosts": [names]}, {"label": "key=value"}.'})
    hosts = capacity.matching(site.id, selector)
    if not hosts.exists():
        raise Invalid({"selector": "It names no host of the site. Is the site synced?"})
    return hosts


def _check_hosts(site: Site, names: list[str]) -> None:
    if len(names) > MOST_HOSTS:
        raise Invalid({"selector.hosts": f"At most {MOST_HOSTS} hosts; choose more by vSphere cluster or label."})
    if len(set(names)) < len(names):
        raise Invalid({"selector.hosts": "A host is named twice."})
    found = Counter(capacity.matching(site.id, {"hosts": names}).values_list("name", flat=True))
    missing = sorted(set(names) - set(found))
    if missing:
        raise Invalid({"selector.hosts": f"No such host at the site: {', '.join(missing[:5])}."})
    several = sorted(name for name, count in found.items() if count > 1)
    if several:
        raise Invalid({"selector.hosts": f"Several hosts bear the name {several[0]}; choose them by label."})


def create_zone(
    *,
    name: str,
    site: Site,
    selector: dict[str, Any],
    datastores: list[str],
    networks: list[str],
    endpoint_range: str,
    cpu_overcommit: Any,
    memory_overcommit: Any,
    by: Actor,
    failover_hosts: int = 0,
    drift_policy: str = DriftPolicy.REPORT,
    vlan_range: str = "",
    switch: str = "",
    placement: str = Placement.FACET,
) -> tuple[Zone, Operation]:
    """Carve a zone: its hosts are its own from this transaction on; a worker makes it visible at the site."""
    site = _standing(site)
    privileges.require(site, "compute")
    hosts = selected(site, selector)
    stores = by_name(Datastore, site, datastores, "datastores")
    nets = by_name(PhysicalNetwork, site, networks, "networks")
    zone = Zone(
        site=site,
        name=name,
        selector=selector,
        endpoint_range=endpoint_range or endpoints.propose(site),
        cpu_overcommit=cpu_overcommit,
        memory_overcommit=memory_overcommit,
        failover_hosts=failover_hosts,
        drift_policy=drift_policy,
        vlan_range=vlan_range,
        switch=switch,
        placement=placement,
    )
    try:
        with transaction.atomic():
            zone.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(f"A zone named {name} exists.") from None
    endpoints.open_range(zone)
    vlans.change_range(zone, vlan_range)
    capacity.give_hosts(zone, hosts)
    check_headroom(failover_hosts, capacity.refresh_hosts(zone), "failover_hosts")
    zone.datastores.set(stores)
    zone.networks.set(nets)
    capacity.refresh_datastores(stores)
    operation = operations.start("zone.create", target=target(zone), by=by)
    wake("zone", zone.id, site_id=site.id)
    return zone, operation


def check_headroom(failover_hosts: int, hosts: int, field: str) -> None:
    """Raises Invalid where the room of all hosts would be kept free. A zone whose hosts are gone may wait for them."""
    if 0 < hosts <= failover_hosts:
        raise Invalid({field: f"Hosts of the zone: {hosts}. The room of at most {hosts - 1} can be kept free."})


def by_name(model: type[Any], site: Site, names: list[str], field: str) -> list[Any]:
    """Rows of a site by inventory name or ref. Raises Invalid naming what is missing or ambiguous."""
    found = {}
    for name in names:
        rows = list(model.objects.filter(Q(name=name) | Q(ref=name), site=site, present=True))
        rows = [row for row in rows if getattr(row, "of_zone_id", None) is None]  # a project's own is never lent
        if not rows:
            raise Invalid({field: f"There is no {name} at the site."})
        if len(rows) > 1:
            refs = sorted(row.ref for row in rows)
            raise Invalid({field: f"{name} is ambiguous at the site; say one of: {', '.join(refs)}."}, candidates=refs)
        found[rows[0].id] = rows[0]
    return sorted(found.values(), key=lambda row: row.id)


def update_zone(*, zone: Zone, changes: dict[str, Any], by: Actor) -> tuple[Zone, Operation]:
    """Change what a zone is carved of. What falls short of what is claimed blocks new grants, as any other shortfall.

    A host that holds claims stays even when the new selector does not name it.
    """
    site = _standing(zone.site)
    columns = {name: changes[name] for name in COLUMNS if name in changes}
    living = Zone.objects.filter(pk=zone.pk, generation=zone.generation, deleted_at=None)
    if not living.exclude(phase=ZonePhase.DELETING).update(**columns, generation=zone.generation + 1):
        raise Conflict("Someone else changed the zone at this moment, or it is being deleted. Look again.")
    zone = Zone.objects.select_related("site").get(pk=zone.pk)
    if "endpoint_range" in changes:
        endpoints.change_range(zone, zone.endpoint_range)
    if "vlan_range" in changes:
        vlans.change_range(zone, zone.vlan_range)
    capacity.lock_hosts(site.id)
    if "selector" in changes:
        capacity.give_hosts(zone, selected(site, zone.selector))
        capacity.look_again(zone)
    counted = capacity.refresh_hosts(zone)
    for field in ("failover_hosts", "selector"):
        if field in changes:
            check_headroom(zone.failover_hosts, counted, field)
    if "datastores" in changes:
        before, after = list(zone.datastores.all()), by_name(Datastore, site, changes["datastores"], "datastores")
        zone.datastores.set(after)
        of_classes = StorageClass.datastores.through._default_manager.filter(storageclass__zone=zone)
        of_classes.exclude(datastore__in=after).delete()
        capacity.refresh_datastores(before + after)
        policies.follow(zone)
    if "networks" in changes:
        zone.networks.set(by_name(PhysicalNetwork, site, changes["networks"], "networks"))
    operation = operations.start("zone.update", target=target(zone), by=by, generation=zone.generation)
    wake("zone", zone.id, site_id=zone.site_id)
    return zone, operation


def delete_zone(*, zone: Zone, by: Actor) -> Operation:
    """Take a zone apart that nobody holds anything in, as the rooms above say. Said twice, it is one delete.

    Who makes something in a zone locks its row and looks at its phase first.
    """
    zone = Zone.objects.select_for_update(no_key=True).get(pk=zone.pk)
    holders = engine.holders("zone", zone.id)
    if holders:
        names = ", ".join(f"{held['kind']} {held['name']}" for held in holders[:5])
        raise InUse(f"Zone {zone.name} is in use: {names}.", holders=holders)
    return _delete(zone, "zone.delete", ZonePhase.DELETING, by)


def site_by_name(name_or_id: str) -> Site:
    """A living site by name or id. Raises Invalid."""
    for site in Site.objects.filter(deleted_at=None):
        if name_or_id in (site.name, str(site.id)):
            return site
    raise Invalid({"site": f"There is no site {name_or_id}."})


def zone_by_name(name_or_id: str, field: str = "zone") -> Zone:
    """A living zone by name or id. Raises Invalid naming `field`."""
    for zone in Zone.objects.filter(deleted_at=None).select_related("site"):
        if name_or_id in (zone.name, str(zone.id)):
            return zone
    raise Invalid({field: f"There is no zone {name_or_id}."})
