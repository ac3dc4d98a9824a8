"""Shapes of flavors, images, add-ons and versions."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text

from ..catalogue import has_cni, warnings_about
from ..models import (
    Addon,
    Flavor,
    Image,
    ImageReplica,
    ReplicaPhase,
)
from .forms import IMAGE_NAME, MANIFEST_BYTES, VERSION, FaultReasonSerializer, Pattern, PlaceSerializer


class FlavorSerializer(serializers.ModelSerializer):
    class Meta:
        model = Flavor
        fields = ["id", "name", "vcpu", "memory_mib", "disk_gib", "created_at"]


class ImageSerializer(serializers.ModelSerializer):
    """A template of a site, published. Who may not inspect zones sees neither."""

    site = PlaceSerializer(allow_null=True)
    template = PlaceSerializer(allow_null=True)
    zones = serializers.SerializerMethodField()
    warnings = serializers.SerializerMethodField()

    class Meta:
        model = Image
        fields = ["id", "name", "framework", "version", "site", "template", "zones", "warnings", "created_at"]

    def get_zones(self, image: Image) -> list[str]:
        """Names of the zones that it serves."""
        return sorted(zone.name for zone in image.site.zones.all() if zone.deleted_at is None)

    def get_warnings(self, image: Image) -> list[str]:
        if "cni" not in self.context:
            self.context["cni"] = has_cni()
        return warnings_about(image, cni=self.context["cni"])

    def to_representation(self, image: Image) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(image)
        return shown if self.context["inspects"] else shown | {"site": None, "template": None}


class ImageRequest(StrictSerializer):
    name = Pattern(IMAGE_NAME, max_length=63)
    site = Text(max_length=63)
    template = Text(max_length=1024)
    framework = NameField(max_length=32, required=False, default="kubernetes")
    version = Pattern(VERSION, max_length=32)


class ImageReplicaRequest(StrictSerializer):
    zone = Text(max_length=63, help_text="name or id")


class ImageReplicaSerializer(serializers.ModelSerializer):
    """An image's copy in a zone whose hosts do not reach its template."""

    image = PlaceSerializer(allow_null=True)
    zone = PlaceSerializer()
    phase = serializers.ChoiceField(choices=ReplicaPhase.choices)
    reason = FaultReasonSerializer(allow_null=True)
    datastore = serializers.CharField(source="datastore.name", allow_null=True, default=None)

    class Meta:
        model = ImageReplica
        fields = ["id", "image", "zone", "phase", "reason", "datastore", "created_at"]


class AddonSerializer(serializers.ModelSerializer):
    """A manifest for clusters; its text is not repeated here."""

    kind = serializers.CharField()
    images = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Addon
        fields = ["id", "name", "kind", "version", "sha256", "images", "created_at"]


class AddonRequest(StrictSerializer):
    name = NameField()
    kind = serializers.ChoiceField(choices=["cni", "cpi", "csi", "other"])
    version = Pattern(VERSION, max_length=32)
    manifest = Text(max_length=MANIFEST_BYTES, trim_whitespace=False)
    images = serializers.ListField(child=Text(max_length=512), max_length=200, required=False, default=list)


class VersionSerializer(serializers.Serializer):
    framework = serializers.CharField()
    version = serializers.CharField()
    zones = serializers.ListField(child=serializers.CharField(), help_text="where clusters of it can be made")


class VersionsSerializer(serializers.Serializer):
    items = VersionSerializer(many=True)
