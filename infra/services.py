"""What IT does with infrastructure: one verb, one transaction. Called inside the caller's context."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from django.db import IntegrityError, transaction
from django.db.models import Q

from facet.operations import events
from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest import secrets
from facet.rest.access import Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken

from . import capacity, endpoints, outside
from .models import Addon, Datastore, Host, Image, PhysicalNetwork, Site, SitePhase, Template, Zone, ZonePhase

DRIVERS = ("simulator", "vsphere")


def target(found: Site | Zone) -> operations.Target:
    kind = "site" if isinstance(found, Site) else "zone"
    site_id = found.id if isinstance(found, Site) else found.site_id
    return operations.Target(kind=kind, id=found.id, name=found.name, site_id=site_id)


# --- sites ---------------------------------------------------------------------------------------------------------


def check_connection(*, driver: str, endpoint: str, ca_pem: str) -> None:
    """Raises Invalid for what cannot be a way to a site."""
    parts = urlsplit(endpoint)
    if driver == "vsphere" and parts.scheme != "https":
        raise Invalid({"endpoint": "A vCenter is reached by https, always verified."})
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid({"endpoint": "An address such as https://vcenter.example.org/sdk."})
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "simulator"):
        raise Invalid({"endpoint": "Without TLS only the simulator, and only on this machine or its own network."})
    if ca_pem:
        try:
            x509.load_pem_x509_certificates(ca_pem.encode())
        except ValueError:
            raise Invalid({"ca_pem": "Not a certificate in PEM form."}) from None


def add_site(
    *, name: str, driver: str, endpoint: str, username: str, password: str, ca_pem: str, by: Actor
) -> tuple[Site, Operation]:
    """Keep the way to a site, its password sealed; a worker connects and takes its inventory."""
    check_connection(driver=driver, endpoint=endpoint, ca_pem=ca_pem)
    site = Site(id=uuid7(), name=name, driver=driver, endpoint=endpoint, username=username, ca_pem=ca_pem)
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
    check_connection(
        driver=site.driver,
        endpoint=changes.get("endpoint", site.endpoint),
        ca_pem=changes.get("ca_pem", site.ca_pem),
    )
    password = changes.pop("password", None)
    if password is not None:
        changes["password_sealed"] = secrets.seal(password.encode(), owner=outside.owner(site.id))
    if not Site.objects.filter(pk=site.pk, generation=site.generation, deleted_at=None).update(
        **changes, generation=site.generation + 1
    ):
        raise Conflict("Someone else changed the site at this moment. Look again.")
    site.refresh_from_db()
    operation = operations.start("site.update", target=target(site), by=by, generation=site.generation)
    wake("site", site.id, site_id=site.id)
    return site, operation


def sync_site(*, site: Site, by: Actor) -> Operation:
    """Ask for a complete look now."""
    operation = operations.start("site.sync", target=target(site), by=by, generation=site.generation)
    wake("site", site.id, site_id=site.id)
    return operation


def resume_site(*, site: Site, by: Actor) -> Operation:
    """A person has looked at a site that came back emptier than it was: carry on, rebuild and remove as needed."""
    Site.objects.filter(pk=site.pk).update(held_back=False)
    events.record("site.resumed", by=by, kind="site", id=site.id, name=site.name)
    return sync_site(site=site, by=by)


def delete_site(*, site: Site, by: Actor) -> Operation:
    """Forget a site that no zone is carved from. Nothing at the site is touched."""
    zones = list(Zone.objects.filter(site=site, deleted_at=None).values_list("name", flat=True))
    if zones:
        raise InUse(
            f"Zones are carved from it: {', '.join(zones)}.", holders=[{"kind": "zone", "name": z} for z in zones]
        )
    Site.objects.filter(pk=site.pk).update(phase=SitePhase.DELETING)
    operation = operations.start("site.delete", target=target(site), by=by, generation=site.generation)
    wake("site", site.id, site_id=site.id)
    return operation


# --- zones ---------------------------------------------------------------------------------------------------------


def selected(site: Site, selector: dict[str, Any]) -> Any:
    """The hosts that a selector names. Raises Invalid for a selector of unknown form, or one that names nothing."""
    hosts = Host.objects.filter(site=site).exclude(state="gone")
    match selector:
        case {"vsphere_cluster": str(name), **rest} if not rest and name:
            hosts = hosts.filter(vsphere_cluster=name)
        case {"hosts": list(names), **rest} if not rest and names and all(isinstance(n, str) for n in names):
            missing = sorted(set(names) - set(hosts.filter(name__in=names).values_list("name", flat=True)))
            if missing:
                raise Invalid({"selector.hosts": f"No such host at the site: {', '.join(missing[:5])}."})
            hosts = hosts.filter(name__in=names)
        case {"label": str(label), **rest} if not rest and "=" in label:
            key, _, value = label.partition("=")
            hosts = hosts.filter(labels__contains={key: value})
        case _:
            raise Invalid({"selector": 'One of {"vsphere_cluster": name}, {"hosts": [names]}, {"label": "key=value"}.'})
    if not hosts.exists():
        raise Invalid({"selector": "It names no host of the site. Is the site synced?"})
    return hosts


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
) -> tuple[Zone, Operation]:
    """Carve a zone: its hosts are its own from this transaction on; a worker makes it visible at the site."""
    if site.phase == SitePhase.DELETING:
        raise Conflict(f"Site {site.name} is being deleted.")
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
    )
    try:
        with transaction.atomic():
            zone.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(f"A zone named {name} exists.") from None
    endpoints.open_range(zone)
    capacity.give_hosts(zone, hosts)
    zone.datastores.set(stores)
    zone.networks.set(nets)
    capacity.refresh_datastores(stores)
    operation = operations.start("zone.create", target=target(zone), by=by)
    wake("zone", zone.id, site_id=site.id)
    return zone, operation


def by_name(model: type[Any], site: Site, names: list[str], field: str) -> list[Any]:
    """Rows of a site by inventory name or ref. Raises Invalid naming what is missing or ambiguous."""
    found = []
    for name in names:
        rows = list(model.objects.filter(Q(name=name) | Q(ref=name), site=site, present=True))
        if not rows:
            raise Invalid({field: f"There is no {name} at the site."})
        if len(rows) > 1:
            refs = ", ".join(row.ref for row in rows)
            raise Invalid({field: f"{name} is ambiguous at the site; say one of: {refs}."})
        found.append(rows[0])
    return sorted(found, key=lambda row: row.id)


def update_zone(*, zone: Zone, changes: dict[str, Any], by: Actor) -> tuple[Zone, Operation]:
    """Change overcommit. Below what is claimed it is a shortfall that blocks new grants, as any other."""
    if not Zone.objects.filter(pk=zone.pk, generation=zone.generation, deleted_at=None).update(
        **changes, generation=zone.generation + 1
    ):
        raise Conflict("Someone else changed the zone at this moment. Look again.")
    zone.refresh_from_db()
    capacity.refresh_hosts(zone)
    operation = operations.start("zone.update", target=target(zone), by=by, generation=zone.generation)
    wake("zone", zone.id, site_id=zone.site_id)
    return zone, operation


def delete_zone(*, zone: Zone, by: Actor) -> Operation:
    """Take a zone apart that nobody holds anything in. Who does is the business of the rooms above, asked first."""
    Zone.objects.filter(pk=zone.pk).update(phase=ZonePhase.DELETING)
    operation = operations.start("zone.delete", target=target(zone), by=by, generation=zone.generation)
    wake("zone", zone.id, site_id=zone.site_id)
    return operation


# --- the catalogue -------------------------------------------------------------------------------------------------


def add_image(*, name: str, site: Site, template: str, framework: str, version: str, by: Actor) -> Image:
    """Publish a template of a site for a framework and version. `template` is its name, path or ref."""
    rows = list(Template.objects.filter(Q(name=template) | Q(path=template) | Q(ref=template), site=site, present=True))
    if not rows:
        raise Invalid({"template": f"There is no template {template} at the site."})
    if len(rows) > 1:
        raise Invalid({"template": f"Ambiguous; say one of: {', '.join(row.path for row in rows)}."})
    try:
        with transaction.atomic():
            image = Image.objects.create(name=name, site=site, template=rows[0], framework=framework, version=version)
    except IntegrityError:
        raise NameTaken(f"Site {site.name} has an image {name}.") from None
    events.record("image.add", by=by, kind="image", id=image.id, name=name, after={"version": version})
    return image


def import_addon(*, name: str, kind: str, version: str, manifest: str, images: list[str], by: Actor) -> Addon:
    """Keep a manifest that Facet applies to clusters. Raises Invalid for what is not Kubernetes objects in YAML."""
    try:
        objects = [found for found in yaml.load_all(manifest, Loader=yaml.CSafeLoader) if found is not None]
    except yaml.YAMLError as error:
        raise Invalid({"manifest": f"Not YAML: {str(error).splitlines()[0]}"}) from None
    if not objects or not all(isinstance(o, dict) and o.get("apiVersion") and o.get("kind") for o in objects):
        raise Invalid({"manifest": "One or more Kubernetes objects, each with apiVersion and kind."})
    try:
        with transaction.atomic():
            addon = Addon.objects.create(
                name=name,
                kind=kind,
                version=version,
                manifest=manifest,
                images=images,
                sha256=hashlib.sha256(manifest.encode()).hexdigest(),
            )
    except IntegrityError:
        raise NameTaken(f"Add-on {name} {version} is in the catalogue.") from None
    events.record("addon.import", by=by, kind="addon", id=addon.id, name=name, after={"version": version})
    return addon


def delete_from_catalogue(found: Image | Addon, *, kind: str, by: Actor) -> None:
    """Take an image or add-on out. Raises InUse while a VM is made from the image."""
    try:
        with transaction.atomic():
            id, name = found.id, found.name
            found.delete()
    except IntegrityError:
        raise InUse(f"VMs are made from {found.name}.") from None
    events.record(f"{kind}.delete", by=by, kind=kind, id=id, name=name)


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
