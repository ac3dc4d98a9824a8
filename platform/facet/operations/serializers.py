from __future__ import annotations

from functools import cache
from typing import Any

from rest_framework import serializers

from .events import show_cursor
from .models import Event, Operation, Phase


class TargetSerializer(serializers.Serializer):
    kind = serializers.CharField()
    id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()


class StepSerializer(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField()
    phase = serializers.ChoiceField(choices=["waiting", "running", "done", "failed"])
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    done = serializers.IntegerField()
    total = serializers.IntegerField()


class OperationSerializer(serializers.ModelSerializer):
    """The receipt for what takes time."""

    target = serializers.SerializerMethodField()
    steps = StepSerializer(many=True)
    done = serializers.SerializerMethodField()
    total = serializers.SerializerMethodField()
    phase = serializers.ChoiceField(choices=Phase.choices)
    problem = serializers.DictField(allow_null=True)
    actor = TargetSerializer()

    class Meta:
        model = Operation
        fields = [
            "id", "verb", "target", "tenant_id", "project_id", "generation", "phase", "steps", "done", "total",
            "problem", "superseded_by", "actor", "created_at", "started_at", "ended_at",
        ]  # fmt: skip

    def get_target(self, operation: Operation) -> dict[str, Any]:
        return {"kind": operation.target_kind, "id": operation.target_id, "name": operation.target_name}

    def get_done(self, operation: Operation) -> int:
        return sum(step["done"] for step in operation.steps)

    def get_total(self, operation: Operation) -> int:
        return sum(step["total"] for step in operation.steps)


class EventSerializer(serializers.ModelSerializer):
    """Who did what to what, from where, before and after."""

    cursor = serializers.SerializerMethodField()
    actor = serializers.SerializerMethodField()
    target = serializers.SerializerMethodField()
    before = serializers.DictField(allow_null=True)
    after = serializers.DictField(allow_null=True)

    class Meta:
        model = Event
        fields = [
            "cursor", "id", "at", "verb", "actor", "target", "tenant_id", "project_id", "source_ip", "request_id",
            "message", "before", "after",
        ]  # fmt: skip

    def get_cursor(self, event: Event) -> str:
        return show_cursor(event)

    def get_actor(self, event: Event) -> dict[str, Any]:
        return {"kind": event.actor_kind, "id": event.actor_id, "name": event.actor_name}

    def get_target(self, event: Event) -> dict[str, Any]:
        return {"kind": event.target_kind, "id": event.target_id, "name": event.target_name}


@cache
def accepted(noun: str, kind: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """The shape of a 202: the receipt, and the object as it stands now."""
    name = f"Accepted{noun.title().replace('_', '')}Serializer"
    return type(name, (serializers.Serializer,), {"operation": OperationSerializer(), noun: kind()})


class ReceiptSerializer(serializers.Serializer):
    """The shape of a 202 for what leaves nothing behind."""

    operation = OperationSerializer()
