"""Shapes of snapshots."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Truth

from ..models import ObjectPhase, Snapshot
from ..serializers import ReasonSerializer


class SnapshotRequest(StrictSerializer):
    """A snapshot that is asked for."""

    name = NameField()
    with_memory = Truth(required=False, default=False, help_text="of a VM that runs: it goes on from there")


class RevertRequest(StrictSerializer):
    """Nothing needs to be said."""


class OfVmSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class SnapshotSerializer(serializers.ModelSerializer[Snapshot]):
    """A VM as it was at a moment. `reverting`: its VM is on its way back to it."""

    vm = OfVmSerializer()
    phase = serializers.ChoiceField(choices=ObjectPhase.choices)
    reason = ReasonSerializer(allow_null=True)
    reverting = serializers.SerializerMethodField()

    class Meta:
        model = Snapshot
        fields = ["id", "name", "vm", "phase", "reason", "with_memory", "reverting", "created_at", "delete_asked_at"]

    def get_reverting(self, snapshot: Snapshot) -> bool:
        return snapshot.revert_asked_at is not None
