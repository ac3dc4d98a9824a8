"""Shapes of sites, and of what stands in them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, WholeNumber

from ..budgets import MOST_IN_FLIGHT
from ..models import (
    Datastore,
    Host,
    HostState,
    PhysicalNetwork,
    Site,
    SitePhase,
    Template,
)
from ..services import DRIVERS
from .forms import FaultReasonSerializer, PlaceSerializer


class SiteSerializer(serializers.ModelSerializer):
    """A vCenter or simulator. Its password is kept sealed and never shown."""

    phase = serializers.ChoiceField(choices=SitePhase.choices)
    reason = FaultReasonSerializer(allow_null=True)
    ca_sha256 = serializers.SerializerMethodField()
    missing_privileges = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()), help_text="by layer: what its user lacks there"
    )

    class Meta:
        model = Site
        fields = [
            "id", "name", "driver", "endpoint", "username", "ca_sha256", "phase", "reason", "product", "simulated",
            "address_network", "budget", "held_back", "missing_privileges", "vms_seen", "last_synced_at", "generation",
            "observed_generation", "created_at",
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
    budget = WholeNumber(
        minimum=1, maximum=MOST_IN_FLIGHT, required=False, help_text="Tasks that it may have in flight for Facet."
    )


class SiteChange(StrictSerializer):
    budget = WholeNumber(minimum=1, maximum=MOST_IN_FLIGHT, required=False)
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
    missing_privileges = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="by layer: what the user lacks there; without all of compute the site does not become active",
    )


class HostSerializer(serializers.ModelSerializer):
    """A hypervisor, and what is claimed of it; or a bin, which stands for all hosts of a zone that DRS places in."""

    zone = PlaceSerializer(source="of_zone", allow_null=True)
    state = serializers.ChoiceField(choices=HostState.choices)
    labels = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = Host
        fields = [
            "id", "kind", "ref", "name", "zone", "state", "cordoned", "vsphere_cluster", "compute_ref", "labels",
            "cpu_cores", "core_mhz", "memory_mib", "vcpu_limit", "vcpu_claimed", "vcpu_unmanaged", "vcpu_overdrawn",
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
        fields = ["id", "ref", "name", "path", "vcpu", "memory_mib", "disk_gib", "is_template", "kind", "present"]
