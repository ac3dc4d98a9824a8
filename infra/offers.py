"""Which tenants a site's networks are lent to: all of them, or chosen ones. What stands on a network stays there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from facet.operations import events
from facet.rest.access import Actor
from facet.rest.problems import Conflict

from .models import NetworkOffer, PhysicalNetwork


def lent_to(tenant_id: UUID) -> QuerySet[PhysicalNetwork]:
    """Networks that may be lent to a tenant, wherever their zones lend them."""
    chosen = NetworkOffer.objects.filter(tenant_id=tenant_id).values("network_id")
    return PhysicalNetwork.objects.filter(Q(offered_to_all=True) | Q(pk__in=chosen), of_zone=None)


def tenants_of(network: PhysicalNetwork) -> list[UUID]:
    """The tenants that were chosen; also while it is offered to all."""
    return list(network.offers.order_by("tenant_id").values_list("tenant_id", flat=True))


@dataclass(frozen=True)
class Offer:
    """To whom a network is lent. `generation` tells offers apart."""

    network: PhysicalNetwork
    tenants: tuple[UUID, ...]

    @classmethod
    def of(cls, network: PhysicalNetwork) -> Offer:
        return cls(network, tuple(tenants_of(network)))

    @property
    def said(self) -> dict[str, Any]:
        return {"all": self.network.offered_to_all, "tenants": [str(id) for id in self.tenants]}

    @property
    def generation(self) -> int:
        return int.from_bytes(hashlib.sha256(json.dumps(self.said).encode()).digest()[:6])


def offer(
    *, network: PhysicalNetwork, to_all: bool, tenants: Collection[UUID], by: Actor, check: Callable[[Offer], None]
) -> Offer:
    """Lend it to all tenants, or to these alone, from now on. Said twice, it is once. `check` judges what is held.

    Raises Conflict for a network that Facet made for a project: that is never lent.
    """
    held = PhysicalNetwork.objects.select_for_update(no_key=True).get(pk=network.pk)
    was = Offer.of(held)
    check(was)
    if held.of_zone_id is not None:
        raise Conflict(f"Network {held.name} is a project's own.", code="not_lent")
    before, wanted = was.said, sorted({*tenants})
    after = {"all": to_all, "tenants": [str(id) for id in wanted]}
    if before == after:
        return was
    PhysicalNetwork.objects.filter(pk=held.pk).update(offered_to_all=to_all)
    NetworkOffer.objects.filter(network=held).exclude(tenant_id__in=wanted).delete()
    rows = [NetworkOffer(network=held, tenant_id=id) for id in wanted]
    NetworkOffer.objects.bulk_create(rows, ignore_conflicts=True)
    events.record(
        "site-network.offer", by=by, kind="site-network", id=held.id, name=held.name, before=before, after=after
    )
    held.offered_to_all = to_all
    return Offer(held, tuple(wanted))
