"""Views of what IT lends: a network of a site, to all tenants or to chosen ones. Here, for infra knows no tenants."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.response import Response

from facet.rest.endpoint import Endpoint, etag
from facet.rest.fields import StrictSerializer, Text, Truth
from facet.rest.problems import Invalid
from infra import offers
from infra.models import PhysicalNetwork
from infra.serializers import PlaceSerializer
from tenants.models import Tenant

MOST_TENANTS = 1000


class OfferRequest(StrictSerializer):
    """To all tenants, or to those that are named; what is left out is no and none."""

    all = Truth(required=False, default=False)
    tenants = serializers.ListField(
        child=Text(max_length=63), max_length=MOST_TENANTS, required=False, default=list, help_text="names or ids"
    )

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["all"] and data["tenants"]:
            raise serializers.ValidationError({"tenants": ["To all, or to some of them."]})
        return data


class OfferSerializer(serializers.Serializer):
    """To whom a network of a site is lent."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    all = serializers.BooleanField()
    tenants = PlaceSerializer(many=True)
    generation = serializers.IntegerField()


class SiteNetworkOfferEndpoint(Endpoint):
    """To whom a network of a site is lent, in the zones that have it."""

    queryset = PhysicalNetwork.objects.filter(site__deleted_at=None)
    serializer_class = OfferSerializer
    verbs = {"retrieve": "site.read", "update": "site.write"}
    requests = {"update": OfferRequest}

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """To all tenants, or to which."""
        found = offers.Offer.of(self.get_object())
        return Response(_shown(found), headers={"ETag": etag(found)})

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Lend it to all tenants or to these alone. VMs that stand on it stay; new ones of others come no more."""
        data = self.valid()
        changed = offers.offer(
            network=self.get_object(), to_all=data["all"], tenants=_ids(data["tenants"]), by=self.access.actor,
            check=lambda found: self.check_if_match(found, _shown),
        )  # fmt: skip
        return Response(_shown(changed))


def _shown(offer: offers.Offer) -> dict[str, Any]:
    network = offer.network
    chosen = Tenant.objects.filter(pk__in=offer.tenants, deleted_at=None).order_by("name")
    tenants = [{"id": one.id, "name": one.name} for one in chosen]
    found: dict[str, Any] = OfferSerializer(
        {
            "id": network.id,
            "name": network.name,
            "all": network.offered_to_all,
            "tenants": tenants,
            "generation": offer.generation,
        }
    ).data
    return found


def _ids(names: list[str]) -> list[UUID]:
    known = {name: id for id, name in Tenant.objects.filter(deleted_at=None).values_list("id", "name")}
    known |= {str(id): id for id in list(known.values())}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Invalid({"tenants": f"There is no tenant {unknown[0]}."})
    return [known[name] for name in names]
