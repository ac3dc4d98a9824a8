"""Shapes of volumes, and of their snapshots."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, WholeNumber
from tenants.serializers import NamedSerializer

from ..models import ObjectPhase, Snapshot, Volume
from ..serializers import ReasonSerializer

MOST_GIB = 62 * 1024  # of a virtual disk on vSphere


class VolumeRequest(StrictSerializer):
    """A volume that is asked for."""

    name = NameField()
    zone = Text(max_length=63)
    size_gib = WholeNumber(minimum=1, maximum=MOST_GIB)
    storage_class = Text(max_length=63, required=False, allow_blank=True, default="", help_text="left out: any")


class VolumeChange(StrictSerializer):
    """A volume grows only."""

    size_gib = WholeNumber(minimum=1, maximum=MOST_GIB)


class AttachRequest(StrictSerializer):
    """Who shall have it: a VM of its project, by name or id."""

    vm = Text(max_length=63)


class DetachRequest(StrictSerializer):
    """Nothing needs to be said."""


class VolumeSnapshotRequest(StrictSerializer):
    """A snapshot that is asked for."""

    name = NameField()


class OfSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class VolumeSerializer(serializers.ModelSerializer[Volume]):
    """`vm`: who shall have it; `attached_to`: who has it, as the site shows. Needs `datastore_name`: views.volumes."""

    tenant = NamedSerializer(source="project.tenant")
    project = NamedSerializer()
    zone = serializers.CharField(source="zone.name")
    datastore = serializers.CharField(source="datastore_name", allow_null=True)
    vm = OfSerializer(source="wanted_by", allow_null=True)
    phase = serializers.ChoiceField(choices=ObjectPhase.choices)
    reason = ReasonSerializer(allow_null=True)
    simulated = serializers.BooleanField(source="zone.site.simulated")

    class Meta:
        model = Volume
        fields = [
            "id", "name", "tenant", "project", "zone", "phase", "reason", "size_gib", "observed_gib", "storage_class",
            "datastore", "vm", "attached_to", "simulated", "created_at", "delete_asked_at", "generation",
        ]  # fmt: skip


class VolumeSnapshotSerializer(serializers.ModelSerializer[Snapshot]):
    """A volume as it was at a moment."""

    volume = OfSerializer()
    phase = serializers.ChoiceField(choices=ObjectPhase.choices)
    reason = ReasonSerializer(allow_null=True)

    class Meta:
        model = Snapshot
        fields = ["id", "name", "volume", "phase", "reason", "created_at", "delete_asked_at"]
