"""Shapes of what people send about VMs, and get."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, WholeNumber
from scheduler.core.ask import Policy
from tenants.serializers import NamedSerializer

from . import boot_data
from .models import VM, VmPhase
from .nic_shapes import NicsField, ShownNics
from .rules import NO_RULES

DEFAULT_FLAVOR = "small"
MOST_ZONES = 16
MOST_LABELS = 16
ANY_GUEST = "otherGuest64"
GUEST_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
MOST_TRIED = 1000  # VMs in one dry run
LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
LABEL_SENTENCE = "A label's name: letters, digits, '.', '_', '/' and '-', at most 63."


class HostLabelsField(serializers.DictField):
    """Labels of hosts: text to text."""

    child = Text(max_length=63, allow_blank=True)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        labels: dict[str, str] = super().to_internal_value(data)
        bad = [key for key in labels if not LABEL_NAME.fullmatch(key)]
        if bad:
            raise serializers.ValidationError({key: [LABEL_SENTENCE] for key in bad})
        if len(labels) > MOST_LABELS:
            raise serializers.ValidationError(f"At most {MOST_LABELS} labels.")
        return labels


class VmPlacementRequest(StrictSerializer):
    """Rules for the host of a VM, and for where its disk lies."""

    policy = serializers.ChoiceField(choices=[policy.value for policy in Policy], required=False, default="spread")
    require = HostLabelsField(required=False, default=dict, help_text="the host carries these labels")
    prefer = HostLabelsField(required=False, default=dict, help_text="a host with these comes first")
    avoid = HostLabelsField(required=False, default=dict, help_text="a host with these comes last")
    storage_class = Text(max_length=63, required=False, allow_blank=True, default="")


class GuestIdField(Text):
    """vSphere's name for a type of guest, such as otherLinux64Guest."""

    def to_internal_value(self, data: Any) -> str:
        text: str = super().to_internal_value(data)
        if not GUEST_ID.fullmatch(text):
            raise serializers.ValidationError("Letters, digits and '_', as in otherLinux64Guest.")
        return text


class SshKeyField(Text):
    """A public key of OpenSSH."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return boot_data.checked_key(super().to_internal_value(data))
        except boot_data.Bad as bad:
            raise serializers.ValidationError(str(bad)) from None


class EmptyRequest(StrictSerializer):
    """A VM with nothing on its disk."""

    guest_id = GuestIdField(max_length=63, required=False, default=ANY_GUEST, help_text="its guest's type, at vSphere")


class VmRequest(StrictSerializer):
    """A VM that is asked for. What is left out has a default."""

    name = NameField()
    zones = serializers.ListField(child=Text(max_length=63), allow_empty=False, max_length=MOST_ZONES)
    flavor = Text(max_length=63, required=False, default=DEFAULT_FLAVOR)
    image = Text(
        max_length=63, required=False, allow_blank=True, default="", help_text="left out: the site's newest image"
    )
    clone_of = Text(max_length=63, required=False, help_text="or a VM of the project, by name or id, at the same site")
    snapshot = Text(max_length=63, required=False, help_text="of that VM, by name or id; left out: as it stands")
    empty = EmptyRequest(required=False, help_text="or nothing: hardware with an empty disk")
    placement = VmPlacementRequest(required=False)
    power = serializers.ChoiceField(choices=["on", "off"], required=False, default="on")
    nics = NicsField(required=False, default=list)
    user_data = Text(
        max_length=boot_data.LARGEST_BYTES, trim_whitespace=False, required=False, allow_blank=True, default="",
        write_only=True, help_text="cloud-config for its first boot; shown to nobody, and forgotten after it",
    )  # fmt: skip
    ssh_keys = serializers.ListField(
        child=SshKeyField(max_length=8192), max_length=boot_data.MOST_KEYS, required=False, default=list,
        help_text="public keys that its guest lets in",
    )  # fmt: skip

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        """The rules that were left out, with their own defaults; and what its guest is given at its first boot."""
        data.setdefault("placement", NO_RULES)
        said = [name for name in ("image", "clone_of", "empty") if data.get(name)]
        if len(said) > 1:
            raise serializers.ValidationError({said[1]: [f"Say either this or {said[0]}."]})
        if "snapshot" in data and "clone_of" not in data:
            raise serializers.ValidationError({"snapshot": ["Of which VM? Say clone_of."]})
        try:
            data["boot_data"] = boot_data.rendered(data.pop("user_data"), data["ssh_keys"])
        except boot_data.Bad as bad:
            raise serializers.ValidationError({"user_data": [str(bad)]}) from None
        return data


class TriedVmRequest(VmRequest):
    """A VM that might be asked for."""

    name = NameField(required=False, default="dry-run")


class VmTrialRequest(StrictSerializer):
    """So many VMs of one shape that might be asked for."""

    vm = TriedVmRequest()
    count = WholeNumber(minimum=1, maximum=MOST_TRIED, required=False, default=1)


# --- answers -------------------------------------------------------------------------------------------------------


class ReasonSerializer(serializers.Serializer):
    """Why an object is not at rest: a code for programs, a sentence, what to do next."""

    code = serializers.CharField()
    sentence = serializers.CharField()
    action = serializers.CharField(required=False)


class OwnerSerializer(serializers.Serializer):
    kind = serializers.CharField(source="owner_kind")
    id = serializers.UUIDField(source="owner_id", allow_null=True)


class DriftSerializer(serializers.Serializer):
    """One thing about a VM that is other at its site than it was asked for."""

    field = serializers.CharField(help_text="machine | power | vcpu | memory_mib | disk_gib | name | host")
    wanted = serializers.JSONField(help_text="what was asked for")
    seen = serializers.JSONField()
    since = serializers.DateTimeField()


class VmSerializer(serializers.ModelSerializer):
    """Needs `host_name` beside the row's own columns: see views.vms. `owner`: who alone may change it."""

    tenant = NamedSerializer(source="project.tenant")
    project = NamedSerializer()
    zone = serializers.CharField(source="zone.name")
    host = serializers.CharField(source="host_name", allow_null=True)
    image = serializers.CharField(source="image.name", allow_null=True, default=None)
    phase = serializers.ChoiceField(choices=VmPhase.choices)
    reason = ReasonSerializer(allow_null=True)
    drift = DriftSerializer(many=True, allow_null=True)
    owner = OwnerSerializer(source="*")
    simulated = serializers.BooleanField(source="zone.site.simulated")
    observed_at = serializers.DateTimeField(source="seen_at", allow_null=True)
    nics = ShownNics(source="*", read_only=True)
    addresses = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = VM
        fields = [
            "id", "name", "tenant", "project", "phase", "reason", "zone", "host", "flavor", "image", "vcpu",
            "memory_mib", "disk_gib", "power_wanted", "power", "address", "addresses", "nics", "drift", "adopted",
            "owner", "simulated", "observed_at", "created_at", "delete_asked_at", "generation",
        ]  # fmt: skip
