"""Views of adopting VMs of a site, and of giving them back. Their site is asked while nothing is held."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from facet.rest.fields import NameField, StrictSerializer, Text, Truth
from facet.rest.idempotency import Answer
from infra.drivers import base
from infra.models import Zone

from . import adoption
from .models import VM
from .serializers import VmSerializer
from .views import VmEndpoint, vms


class AdoptionRequest(StrictSerializer):
    """A VM of the site, the project that it shall be of, and its name there."""

    vm = Text(max_length=255, help_text="its ref, its instanceUuid or its name at the site")
    project = Text(max_length=255, help_text="its id, or tenant/project")
    name = NameField(required=False, help_text="left out: its name at the site")
    dry_run = Truth(required=False, default=False, help_text="say what would be claimed, and claim nothing")


class ReleaseRequest(StrictSerializer):
    """Nothing needs to be said."""


class ClaimsSerializer(serializers.Serializer[Any]):
    """What an adoption takes of the project's room."""

    vcpu = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    storage_gib = serializers.IntegerField()
    vms = serializers.IntegerField()
    pool = serializers.CharField(help_text="that pays")
    zone = serializers.CharField()
    host = serializers.CharField()
    datastore = serializers.CharField()


class AdoptionSerializer(serializers.Serializer[Any]):
    """`changes`: what is changed on the VM, which is nothing. `vm`: null after a dry run."""

    dry_run = serializers.BooleanField()
    changes = serializers.ListField(child=serializers.CharField())
    claims = ClaimsSerializer()
    vm = VmSerializer(allow_null=True)


class AdoptionEndpoint(Endpoint):
    """An unmanaged VM of a zone becomes a project's."""

    queryset = Zone.objects.filter(deleted_at=None).select_related("site")
    placing = True
    serializer_class = AdoptionSerializer
    verbs = {"adopt": "zone.write"}
    requests = {"adopt": AdoptionRequest}
    answers = {"adopt": (200, AdoptionSerializer)}

    def adopt(self, request: Any, **kwargs: Any) -> Response:
        """Manage it from now on, as it stands: room, quota and pool are claimed, or it is refused with the limits."""
        said = dict(self.valid())
        dry_run = said.pop("dry_run")

        def write(found: adoption.Wish, seen: base.VmFacts) -> Answer:
            done = adoption.adopt(found=found, seen=seen, by=self.access.actor)
            answer = {"dry_run": dry_run, "changes": [], "claims": adoption.claims(done), "vm": None}
            if dry_run:
                transaction.set_rollback(True)
                return 200, answer
            return 200, answer | {"vm": VmEndpoint.document(done.vm)}

        return self.placed_once(read=lambda: adoption.wish(zone=self.found, **said), decide=adoption.look, write=write)


class ReleaseEndpoint(Endpoint):
    """An adopted VM is given back."""

    placing = True
    serializer_class = VmSerializer
    verbs = {"release": "zone.write"}  # what a project has given away costs it nothing, and goes on running
    requests = {"release": ReleaseRequest}
    answers = {"release": (200, VmSerializer)}
    conditional = frozenset(verbs)

    def get_queryset(self) -> QuerySet[VM]:
        return vms()

    def release(self, request: Any, **kwargs: Any) -> Response:
        """Manage it no more. Nothing on it is changed; what it held is given back."""
        self.valid()

        def read() -> tuple[VM, base.Driver]:
            self._check(self.found)
            return self.found, adoption.driver_for(self.found)

        def decide(found: tuple[VM, base.Driver]) -> base.VmFacts | None:
            return adoption.facts(found[1], found[0].id)

        def write(found: tuple[VM, base.Driver], seen: base.VmFacts | None) -> Answer:
            shown = VmEndpoint.document(found[0])
            adoption.release(vm=found[0], seen=seen, by=self.access.actor, check=self._check)
            return 200, shown

        return self.placed_once(read=read, decide=decide, write=write)

    def _check(self, locked: VM) -> None:
        self.check_if_match(locked, VmEndpoint.document)
