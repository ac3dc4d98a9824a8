"""What Facet's user lacks at a site, by layer, as the last look found: work that needs it is not accepted there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facet.rest.problems import Conflict

from .drivers import base
from .models import Site

NO_PERMISSION = "no_permission"
ACTION = (
    "Give Facet's user at the site what docs/vsphere.md lists. Facet looks again every minute; or: facet site sync."
)


def recorded(missing: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """As a site's row keeps it: layers that lack nothing are left out."""
    return {layer: sorted(names) for layer, names in sorted(missing.items()) if names}


def check_compute(missing: Mapping[str, Sequence[str]]) -> None:
    """Raises Refused(no_permission) for a site where no VM could be made: it does not become active."""
    names = recorded(missing).get("compute")
    if names:
        raise base.Refused(sentence("compute", names), code=NO_PERMISSION)


def require(site: Site, layer: str) -> None:
    """Raises Conflict(no_permission), naming what lacks, where the user may not do what this layer needs."""
    names = site.missing_privileges.get(layer)
    if names:
        raise Conflict(f"Site {site.name}: {sentence(layer, names)}", code=NO_PERMISSION)


def sentence(layer: str, names: Sequence[str]) -> str:
    return f"Facet's user lacks privileges that {layer} needs: {', '.join(names)}."
