"""Shapes of what IT sends and what people get. Nothing secret is ever in an answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.core.validators import RegexValidator
from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, WholeNumber

from .catalogue import has_cni, warnings_about
from .models import (
    Addon,
    Datastore,
    Flavor,
    Host,
    HostState,
    Image,
    PhysicalNetwork,
    Site,
    SitePhase,
    StorageClass,
    Template,
    Zone,
    ZonePhase,
)
from .services import DRIVERS, MOST_HOSTS

IMAGE_NAME = r"^[a-z]([a-z0-9.-]{0,61}[a-z0-9])?\Z"
VERSION = r"^[A-Za-z0-9]([A-Za-z0-9.+_-]{0,30}[A-Za-z0-9])?\Z"
MANIFEST_BYTES = 1_500_000
ASK_IT = {"sentence": "The zone is not in order.", "action": "Ask IT; it sees why."}


class Pattern(Text):
    """A string of this form, and of no other type."""

    def __init__(self, form: str, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)
        self.validators.append(RegexValidator(form, f"Not of the form {form.removesuffix(chr(92) + 'Z')}$."))


class PlaceSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()


class FaultReasonSerializer(serializers.Serializer):
    """Why an object is not as it should be."""

    code = serializers.CharField()
    sentence = serializers.CharField()
    action = serializers.CharField()


# --- sites ---------------------------------------------------------------------------------------------------------


class SiteSerializer(serializers.ModelSerializer):
    """A vCenter or simulator. Its password is kept sealed and never shown."""

    phase = serializers.ChoiceField(choices=SitePhase.choices)
    reason = FaultReasonSerializer(allow_null=True)
    ca_sha256 = serializers.SerializerMethodField()

    class Meta:
        model = Site
        fields = [
            "id", "name", "driver", "endpoint", "username", "ca_sha256", "phase", "reason", "product", "simulated",
            "address_network", "held_back", "vms_seen", "last_synced_at", "generation", "observed_generation",
            "created_at",
        ]  # fmt: skip

    def get_ca_sha256(self, site: Site) -> list[str]:
        """Fingerprints of the certificates that are trusted for it."""
        if not site.ca_pem:
            return []
        found = x509.load_pem_x509_certificates(site.ca_pem.encode())
        return [one.fingerprint(hashes.SHA256()).hex() for one in found]


class WaySerializer(StrictSerializer):
    """How to reach a site."""

    name = NameField()
    driver = serializers.ChoiceField(choices=DRIVERS)
    endpoint = Text(max_length=255)
    username = Text(max_length=255, required=False, allow_blank=True, default="")
    password = Text(max_length=1024, required=False, allow_blank=True, default="", trim_whitespace=False)
    ca_pem = Text(max_length=65536, required=False, allow_blank=True, default="")


class SiteRequest(WaySerializer):
    pass


class SiteChange(StrictSerializer):
    endpoint = Text(max_length=255, required=False)
    username = Text(max_length=255, required=False, allow_blank=True)
    password = Text(max_length=1024, required=False, allow_blank=True, trim_whitespace=False)
    ca_pem = Text(max_length=65536, required=False, allow_blank=True)


class FaultSerializer(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()


class CheckSerializer(serializers.Serializer):
    """What a first contact found, or why there was none."""

    ok = serializers.BooleanField()
    product = serializers.CharField(allow_blank=True)
    version = serializers.CharField(allow_blank=True)
    simulated = serializers.BooleanField(allow_null=True)
    problem = FaultSerializer(allow_null=True)


class HostSerializer(serializers.ModelSerializer):
    """A hypervisor, and what is claimed of it."""

    zone = PlaceSerializer(allow_null=True)
    state = serializers.ChoiceField(choices=HostState.choices)
    labels = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = Host
        fields = [
            "id", "ref", "name", "zone", "state", "cordoned", "vsphere_cluster", "compute_ref", "labels", "cpu_cores",
            "core_mhz", "memory_mib", "vcpu_limit", "vcpu_claimed", "vcpu_unmanaged", "vcpu_overdrawn",
            "memory_limit_mib", "memory_claimed_mib", "memory_unmanaged_mib", "memory_overdrawn_mib", "seen_at",
        ]  # fmt: skip


class DatastoreSerializer(serializers.ModelSerializer):
    zones = PlaceSerializer(many=True)

    class Meta:
        model = Datastore
        fields = [
            "id", "ref", "name", "kind", "zones", "accessible", "present", "capacity_gib", "free_gib", "limit_gib",
            "claimed_gib", "unmanaged_gib", "overdrawn_gib",
        ]  # fmt: skip


class NetworkSerializer(serializers.ModelSerializer):
    zones = PlaceSerializer(many=True)

    class Meta:
        model = PhysicalNetwork
        fields = ["id", "ref", "name", "kind", "vlan", "zones", "present"]


class TemplateSerializer(serializers.ModelSerializer):
    class Meta:
        model = Template
        fields = ["id", "ref", "name", "path", "vcpu", "memory_mib", "disk_gib", "is_template", "present"]


# --- zones ---------------------------------------------------------------------------------------------------------


class SelectorField(serializers.JSONField):
    """{"vsphere_cluster": name} | {"hosts": [names]} | {"label": "key=value"}"""

    FORM = 'One of {"vsphere_cluster": name}, {"hosts": [names]}, {"label": "key=value"}.'

    def to_internal_value(self, data: Any) -> Any:
        match data:
            case {"vsphere_cluster": str(name), **rest} if not rest and 0 < len(name) <= 255:
                return data
            case {"hosts": list(names), **rest} if not rest and names:
                if len(names) > MOST_HOSTS:
                    raise serializers.ValidationError({"hosts": [f"At most {MOST_HOSTS} hosts."]})
                if not all(isinstance(name, str) and 0 < len(name) <= 255 for name in names):
                    raise serializers.ValidationError({"hosts": ["A list of names."]})
                return data
            case {"label": str(label), **rest} if not rest and label.partition("=")[0] and "=" in label:
                return data
        raise serializers.ValidationError(self.FORM)


class Overcommit(serializers.DecimalField):
    """1 to 100, two decimals, written as a number."""

    def __init__(self, **options: Any) -> None:
        limits = {"min_value": Decimal(1), "max_value": Decimal(100)}
        super().__init__(max_digits=5, decimal_places=2, coerce_to_string=False, **limits, **options)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class NamesField(serializers.ListField):
    """Names or refs of a site's objects."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(max_length=255), max_length=200, **options)


class ZoneRequest(StrictSerializer):
    name = NameField()
    site = Text(max_length=63)
    selector = SelectorField()
    datastores = NamesField(required=False, default=list)
    networks = NamesField(required=False, default=list)
    endpoint_range = Text(max_length=64, required=False, allow_blank=True, default="")
    cpu_overcommit = Overcommit(required=False, default=Decimal(4))
    memory_overcommit = Overcommit(required=False, default=Decimal(1))
    failover_hosts = WholeNumber(
        maximum=MOST_HOSTS, required=False, default=0, help_text="the room of so many hosts is kept free for restarts"
    )


class ZoneChange(StrictSerializer):
    selector = SelectorField(required=False)
    datastores = NamesField(required=False)
    networks = NamesField(required=False)
    endpoint_range = Text(max_length=64, required=False, allow_blank=True)
    cpu_overcommit = Overcommit(required=False)
    memory_overcommit = Overcommit(required=False)
    failover_hosts = WholeNumber(maximum=MOST_HOSTS, required=False)


class ZoneSerializer(serializers.ModelSerializer):
    """An availability zone. Who may not inspect zones sees null where its site would show."""

    site = PlaceSerializer(allow_null=True)
    selector = serializers.DictField(allow_null=True)
    datastores = PlaceSerializer(many=True, allow_null=True)
    networks = PlaceSerializer(many=True, allow_null=True)
    endpoint_range = serializers.CharField(allow_null=True, allow_blank=True)
    hosts = serializers.IntegerField(source="host_count", allow_null=True)
    cpu_overcommit = serializers.FloatField(allow_null=True)
    memory_overcommit = serializers.FloatField(allow_null=True)
    failover_hosts = serializers.IntegerField(allow_null=True)
    simulated = serializers.BooleanField(source="site.simulated")
    phase = serializers.ChoiceField(choices=ZonePhase.choices)
    reason = FaultReasonSerializer(allow_null=True)

    INSIDE = (
        "site", "selector", "datastores", "networks", "endpoint_range", "hosts", "cpu_overcommit", "memory_overcommit",
        "failover_hosts",
    )  # fmt: skip

    class Meta:
        model = Zone
        fields = [
            "id", "name", "site", "simulated", "phase", "reason", "selector", "hosts", "datastores", "networks",
            "endpoint_range", "cpu_overcommit", "memory_overcommit", "failover_hosts", "generation",
            "observed_generation", "created_at",
        ]  # fmt: skip

    def to_representation(self, zone: Zone) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(zone)
        if not self.context["inspects"]:
            shown |= dict.fromkeys(self.INSIDE)
            shown["reason"] = {"code": shown["reason"]["code"], **ASK_IT} if shown["reason"] else None
        return shown


class StorageClassRequest(StrictSerializer):
    """A kind of storage, and the datastores of the zone that it means there."""

    name = NameField()
    datastores = NamesField(allow_empty=False)


class StorageClassChange(StrictSerializer):
    datastores = NamesField(allow_empty=False)


class StorageClassSerializer(serializers.ModelSerializer):
    """What a zone offers by this name. Who may not inspect zones sees null where its datastores would show."""

    zone = PlaceSerializer()
    datastores = PlaceSerializer(many=True, allow_null=True)

    class Meta:
        model = StorageClass
        fields = ["id", "name", "zone", "datastores", "created_at", "generation"]

    def to_representation(self, found: StorageClass) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(found)
        return shown if self.context["inspects"] else shown | {"datastores": None}


class ResourceSerializer(serializers.Serializer):
    """One resource of a zone. `free`: what single hosts or datastores could still grant, summed."""

    resource = serializers.ChoiceField(choices=["vcpu", "memory_mib", "storage_gib"])
    capacity = serializers.IntegerField()
    limit = serializers.IntegerField()
    claimed = serializers.IntegerField()
    unmanaged = serializers.IntegerField()
    overdrawn = serializers.IntegerField()
    free = serializers.IntegerField()


class AddressesSerializer(serializers.Serializer):
    total = serializers.IntegerField()
    free = serializers.IntegerField()


# --- the catalogue -------------------------------------------------------------------------------------------------


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
