"""How many tasks a site may have in flight for Facet. Sites that are one vCenter share what that vCenter bears."""

from __future__ import annotations

from django.db.models import Sum

from facet.operations import events
from facet.rest.access import SYSTEM
from facet.rest.problems import Invalid

from .models import Site

MOST_IN_FLIGHT = 640  # of one vCenter: what it carries out at once, whoever asks


def check(site: Site, budget: int) -> None:
    """Raises Invalid when all sites of the same vCenter would have more than it bears. In the caller's transaction."""
    same = Site.objects.filter(instance_id=site.instance_id, deleted_at=None).order_by("id")
    list(same.select_for_update(no_key=True).values_list("id"))  # so that none of the others grows at this moment
    left = MOST_IN_FLIGHT - _of_the_others(site)
    if budget > left:
        raise Invalid({"budget": f"Its vCenter bears {MOST_IN_FLIGHT} tasks, and other sites of it leave {left}."})


def keep_within(site: Site) -> None:
    """Which vCenter a site is, is learnt at its first look: what it asked for too much is cut then, and told."""
    most = max(1, MOST_IN_FLIGHT - _of_the_others(site))
    if site.budget <= most:
        return
    Site.objects.filter(pk=site.pk).update(budget=most)
    events.record(
        "site.budget_cut", by=SYSTEM, kind="site", id=site.id, name=site.name, before={"budget": site.budget},
        after={"budget": most}, message=f"Its vCenter bears {MOST_IN_FLIGHT} tasks; other sites of it have theirs.",
    )  # fmt: skip


def _of_the_others(site: Site) -> int:
    """What other sites of the same vCenter may have."""
    if not site.instance_id:
        return 0
    others = Site.objects.filter(instance_id=site.instance_id, deleted_at=None).exclude(pk=site.pk)
    held: int | None = others.aggregate(held=Sum("budget"))["held"]
    return held or 0
