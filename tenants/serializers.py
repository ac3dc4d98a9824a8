"""Shapes of what people send and get. Requests are strict; answers are made of the models."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, Truth, WholeNumber

from .members import principal
from .models import Group, Member, Project, Resource, Role, ServiceAccount, Tenant, Token, User

MOST = 10**12
PROJECT_ROLE_CHOICES = [(role.value, role.label) for role in (Role.PROJECT_EDITOR, Role.PROJECT_VIEWER)]


class LimitsField(serializers.DictField):
    """{resource: whole number, or null for unlimited}."""

    child = WholeNumber(maximum=MOST, allow_null=True)

    def to_internal_value(self, data: Any) -> dict[str, int | None]:
        limits: dict[str, int | None] = super().to_internal_value(data)
        unknown = [name for name in limits if name not in Resource.values]
        if unknown:
            raise serializers.ValidationError({name: [f"Resources: {', '.join(Resource.values)}."] for name in unknown})
        return limits


class LoginRequest(StrictSerializer):
    username = Text(max_length=63)
    password = Text(max_length=1024, trim_whitespace=False)


class SecretSerializer(serializers.Serializer):
    """A credential that is shown once."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class NamedSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()


class LoginAnswer(serializers.Serializer):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    user = NamedSerializer()


class RoleSerializer(serializers.Serializer):
    role = serializers.ChoiceField(choices=Role.choices)
    tenant = NamedSerializer(allow_null=True)
    project = NamedSerializer(allow_null=True)


class MeSerializer(serializers.Serializer):
    kind = serializers.CharField()
    id = serializers.UUIDField()
    name = serializers.CharField()
    roles = RoleSerializer(many=True)
    stream_url = serializers.CharField()
    version = serializers.CharField()


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "name", "email", "disabled", "created_at", "last_login", "generation"]


class UserRequest(StrictSerializer):
    name = NameField()
    password = Text(max_length=1024, trim_whitespace=False)
    email = serializers.EmailField(required=False, allow_blank=True, default="")


class UserChange(StrictSerializer):
    password = Text(max_length=1024, trim_whitespace=False, required=False)
    email = serializers.EmailField(required=False, allow_blank=True)
    disabled = Truth(required=False)


class GroupSerializer(serializers.ModelSerializer):
    users = NamedSerializer(many=True)

    class Meta:
        model = Group
        fields = ["id", "name", "users", "created_at", "generation"]


class GroupRequest(StrictSerializer):
    name = NameField()
    users = serializers.ListField(child=Text(max_length=63), required=False, max_length=1000)


class GroupChange(StrictSerializer):
    name = NameField(required=False)
    users = serializers.ListField(child=Text(max_length=63), required=False, max_length=1000)


class TokenSerializer(serializers.ModelSerializer):
    class Meta:
        model = Token
        fields = ["id", "name", "expires_at", "last_used_at", "created_at"]


class TokenRequest(StrictSerializer):
    name = Text(max_length=63, required=False, allow_blank=True, default="")
    expires_in_s = WholeNumber(minimum=1, maximum=366 * 86400, required=False, allow_null=True, default=None)


class TenantSerializer(serializers.ModelSerializer):
    class Meta:
        model = Tenant
        fields = ["id", "name", "description", "created_at", "generation"]


class TenantRequest(StrictSerializer):
    name = NameField()
    description = Text(max_length=2000, required=False, allow_blank=True, default="")
    quota = LimitsField(required=False, default=dict)


class TenantChange(StrictSerializer):
    description = Text(max_length=2000, required=False, allow_blank=True)


class ProjectSerializer(serializers.ModelSerializer):
    tenant = NamedSerializer()

    class Meta:
        model = Project
        fields = ["id", "name", "description", "tenant", "created_at", "generation"]


class QuotaRowSerializer(serializers.Serializer):
    resource = serializers.ChoiceField(choices=Resource.choices)
    zone = serializers.CharField(allow_null=True)
    limit = serializers.IntegerField(allow_null=True)
    used = serializers.IntegerField()
    handed_down = serializers.IntegerField()


class QuotaSerializer(serializers.Serializer):
    items = QuotaRowSerializer(many=True)


class QuotaRequest(StrictSerializer):
    limits = LimitsField()
    zone = Text(max_length=63, required=False, allow_null=True, default=None)


class MemberSerializer(serializers.ModelSerializer):
    principal = serializers.SerializerMethodField()

    class Meta:
        model = Member
        fields = ["id", "role", "principal", "tenant_id", "project_id", "created_at"]

    def get_principal(self, member: Member) -> dict[str, Any]:
        kind, who = principal(member)
        return {"kind": kind, "id": who.id, "name": who.name}


class MemberRequest(StrictSerializer):
    role = serializers.ChoiceField(choices=Role.choices)
    user = Text(max_length=63, required=False, default=None, allow_null=True)
    group = Text(max_length=63, required=False, default=None, allow_null=True)
    service_account = Text(max_length=63, required=False, default=None, allow_null=True)


class ServiceAccountSerializer(serializers.ModelSerializer):
    project = NamedSerializer()
    tenant = NamedSerializer()
    roles = serializers.SerializerMethodField()

    class Meta:
        model = ServiceAccount
        fields = ["id", "name", "tenant", "project", "roles", "created_at"]

    def get_roles(self, account: ServiceAccount) -> list[str]:
        return sorted(member.role for member in account.memberships.all())


class ServiceAccountRequest(StrictSerializer):
    name = NameField()
    role = serializers.ChoiceField(choices=PROJECT_ROLE_CHOICES)
