"""What IT publishes for teams to build of: images of templates, and add-ons. One verb, one transaction."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import yaml
from django.db import IntegrityError, transaction
from django.db.models import Q

from facet.operations import engine, events
from facet.rest.access import Actor
from facet.rest.problems import InUse, Invalid, NameTaken

from . import replicas
from .models import Addon, Image, Site, Template

KUBERNETES = "kubernetes"
_KUBERNETES_VERSION = re.compile(r"v\d{1,3}\.\d{1,3}\.\d{1,4}(?:[-+][0-9A-Za-z.+-]{1,20})?")
MOST_PARTS = 200_000  # of a manifest, once its aliases are written out


def add_image(*, name: str, site: Site, template: str, framework: str, version: str, by: Actor) -> Image:
    """Publish a template of a site for a framework and version. `template` is its name, path or ref."""
    if framework == KUBERNETES and not _KUBERNETES_VERSION.fullmatch(version):
        raise Invalid({"version": "A version of Kubernetes, such as v1.34.2."})
    rows = list(Template.objects.filter(Q(name=template) | Q(path=template) | Q(ref=template), site=site, present=True))
    if not rows:
        raise Invalid({"template": f"There is no template {template} at the site. Is the site synced?"})
    if len(rows) > 1:
        paths = sorted(row.path for row in rows)
        raise Invalid({"template": f"Ambiguous; say one of: {', '.join(paths)}."}, candidates=paths)
    try:
        with transaction.atomic():
            image = Image.objects.create(name=name, site=site, template=rows[0], framework=framework, version=version)
    except IntegrityError:
        raise NameTaken(f"Site {site.name} has an image {name}.") from None
    replicas.plan(site.id)
    events.record("image.add", by=by, kind="image", id=image.id, name=name, after={"version": version})
    return image


def warnings_about(image: Image, *, cni: bool) -> list[str]:
    """What would keep clusters from being made of an image. `cni`: the catalogue has an add-on of this kind."""
    told = []
    if image.framework == KUBERNETES and not cni:
        told.append("No add-on of kind cni is in the catalogue: clusters need one. Import it: facet addon import.")
    if not image.template.present:
        told.append("The site no longer shows its template.")
    return told


def has_cni() -> bool:
    return Addon.objects.filter(kind="cni").exists()


def import_addon(*, name: str, kind: str, version: str, manifest: str, images: list[str], by: Actor) -> Addon:
    """Keep a manifest that Facet applies to clusters. Raises Invalid for what is not Kubernetes objects in YAML."""
    check_manifest(manifest)
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


def check_manifest(manifest: str) -> None:
    """Raises Invalid for what is not one or more named Kubernetes objects of a bearable size."""
    try:
        objects = [found for found in yaml.load_all(manifest, Loader=yaml.CSafeLoader) if found is not None]
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        first = (str(error).splitlines() or ["it cannot be read"])[0]
        raise Invalid({"manifest": f"Not YAML: {first[:200]}"}) from None
    if _too_large(objects):
        raise Invalid({"manifest": "It is too large once its aliases are written out."})
    if not objects or not all(_named(found) for found in objects):
        raise Invalid({"manifest": "One or more Kubernetes objects, each with apiVersion, kind and metadata.name."})


def _named(found: Any) -> bool:
    match found:
        case {"apiVersion": str(), "kind": "List", "items": list(items)}:
            return all(_named(item) for item in items)
        case {"apiVersion": str(group), "kind": str(kind), "metadata": {"name": str(name)}}:
            return bool(group and kind and name)
    return False


def _too_large(objects: list[Any]) -> bool:
    """Aliases may make a small text enormous, or endless, for whoever writes it out."""
    rest, parts = list(objects), 0
    while rest:
        part = rest.pop()
        parts += 1
        if parts + len(rest) > MOST_PARTS:
            return True
        if isinstance(part, dict):
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)
    return False


def delete_from_catalogue(found: Image | Addon, *, kind: str, by: Actor) -> None:
    """Take an image or add-on out; what was made of it lives on. Raises InUse while VMs are being made of the image."""
    type(found)._default_manager.select_for_update().get(pk=found.pk)  # who is about to use it ends first
    holders = engine.holders(kind, found.id)
    if holders:
        raise InUse(f"{len(holders)} VMs are being made of {found.name} now. Try again later.", holders=holders[:20])
    id, name = found.id, found.name
    if isinstance(found, Image):
        replicas.leave(found.replicas.all())
    found.delete()
    events.record(f"{kind}.delete", by=by, kind=kind, id=id, name=name)
