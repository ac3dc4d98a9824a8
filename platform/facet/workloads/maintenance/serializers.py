"""Shapes of what IT gets about drains."""

from __future__ import annotations

from rest_framework import serializers

from ..models import Drain, DrainPhase


class DrainSerializer(serializers.ModelSerializer):
    """A host, or (`host` null) a whole zone, being emptied. How far it is, its operation says."""

    zone = serializers.CharField(source="zone.name")
    host = serializers.CharField(source="host.name", allow_null=True, default=None)
    phase = serializers.ChoiceField(choices=DrainPhase.choices)
    reason = serializers.DictField(allow_null=True)
    total = serializers.IntegerField(help_text="VMs that stood there when it began")
    left = serializers.SerializerMethodField(help_text="VMs that still have room there")

    class Meta:
        model = Drain
        fields = ["id", "zone", "host", "phase", "reason", "total", "left", "created_at", "ended_at"]

    def get_left(self, drain: Drain) -> int:
        return int(getattr(drain, "left", drain.total))
