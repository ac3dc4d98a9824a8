"""Closing hosts to new work, and opening them. Locks the hosts; the rooms above wake whom it concerns."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from facet.operations import events
from facet.rest.access import Actor
from facet.rest.dbtypes import CurrentXid

from .models import Host


def locked(hosts: Q) -> list[Host]:
    """These hosts, locked in the order in which everyone locks them."""
    rows = Host.objects.filter(hosts).select_related("zone__site")
    return list(rows.order_by("id").select_for_update(no_key=True, of=("self",)))


def cordon(host_id: UUID, *, by: Actor) -> bool:
    """The host takes nothing new from here on. False when it was so already: then nothing is written."""
    return _set(host_id, True, by)


def uncordon(host_id: UUID, *, by: Actor) -> bool:
    """The host takes new work again. False when it was so already."""
    return _set(host_id, False, by)


def _set(host_id: UUID, cordoned: bool, by: Actor) -> bool:
    host = locked(Q(pk=host_id))[0]
    if host.cordoned == cordoned:
        return False
    Host.objects.filter(pk=host_id).update(cordoned=cordoned, changed=CurrentXid())
    verb = "host.cordoned" if cordoned else "host.uncordoned"
    message = "It takes nothing new." if cordoned else "It takes new work again."
    events.record(
        verb, by=by, kind="host", id=host.id, name=host.name, message=message, before={"cordoned": host.cordoned},
        after={"cordoned": cordoned},
    )  # fmt: skip
    return True
