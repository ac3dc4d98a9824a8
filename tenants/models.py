"""People, tenants and what they may use. Tenant-owned tables carry `tenant_id` and a policy (see isolation.py)."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import F, Q

from facet.rest.fields import valid_name
from facet.rest.ids import uuid7
from facet.rest.owned import Owned


class Role(models.TextChoices):
    PLATFORM_ADMIN = "platform-admin"
    AUDITOR = "auditor"
    TENANT_ADMIN = "tenant-admin"
    PROJECT_EDITOR = "project-editor"
    PROJECT_VIEWER = "project-viewer"


PLATFORM_ROLES = frozenset({Role.PLATFORM_ADMIN, Role.AUDITOR})
PROJECT_ROLES = frozenset({Role.PROJECT_EDITOR, Role.PROJECT_VIEWER})


class Resource(models.TextChoices):
    """What quotas count. Units stand in the names; the others are counts."""

    VCPU = "vcpu"
    MEMORY_MIB = "memory_mib"
    STORAGE_GIB = "storage_gib"
    VMS = "vms"
    VOLUMES = "volumes"
    NETWORKS = "networks"
    CLUSTERS = "clusters"


class UserManager(BaseUserManager["User"]):
    def create_user(self, name: str, password: str | None = None, **more: Any) -> User:
        user = User(name=name, **more)
        user.set_password(password)
        user.save(force_insert=True)
        return user


class User(AbstractBaseUser):
    """A person. Logs in by name and password, or with a token."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=63, unique=True, validators=[valid_name])
    email = models.EmailField(blank=True, default="")
    disabled = models.BooleanField(default=False)
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager()
    USERNAME_FIELD = "name"

    class Meta:
        indexes = [models.Index(fields=["created_at", "id"], name="user_order")]

    @property
    def is_active(self) -> bool:  # type: ignore[override]  # the name that Django's sessions ask for
        return not self.disabled


class Group(models.Model):
    """People who get roles together."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=63, unique=True, validators=[valid_name])
    users = models.ManyToManyField(User, related_name="groups")
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)


class Tenant(Owned, models.Model):
    """A customer of the infrastructure: sees its own facet of it, and nothing else."""

    tenant_path = "id"
    project_path = None

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=63, validators=[valid_name])
    description = models.TextField(blank=True, default="")
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(deleted_at=None),
                name="tenant_name",
                violation_error_message="A tenant of this name exists.",
            )
        ]


class Project(Owned, models.Model):
    """A team's part of a tenant."""

    project_path = "id"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="projects")
    name = models.CharField(max_length=63, validators=[valid_name])
    description = models.TextField(blank=True, default="")
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"],
                condition=Q(deleted_at=None),
                name="project_name_in_tenant",
                violation_error_message="A project of this name exists in the tenant.",
            )
        ]


class ServiceAccount(Owned, models.Model):
    """A process of a project that acts on its own."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT, related_name="service_accounts")
    name = models.CharField(max_length=63, validators=[valid_name])
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="service_account_name_in_project",
                violation_error_message="A service account of this name exists in the project.",
            )
        ]


class Member(Owned, models.Model):
    """A role of a user, a group or a service account: at a project, at a tenant, or (neither) on the platform."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, related_name="members")
    project = models.ForeignKey(Project, models.PROTECT, null=True, related_name="members")
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="memberships")
    group = models.ForeignKey(Group, models.CASCADE, null=True, related_name="memberships")
    service_account = models.ForeignKey(ServiceAccount, models.CASCADE, null=True, related_name="memberships")
    role = models.CharField(max_length=32, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "project", "user", "group", "service_account", "role"],
                nulls_distinct=False,
                name="member_once",
                violation_error_message="This role is held there already.",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, group=None, service_account=None)
                | Q(user=None, group__isnull=False, service_account=None)
                | Q(user=None, group=None, service_account__isnull=False),
                name="member_is_one_principal",
            ),
            models.CheckConstraint(
                condition=Q(tenant=None, project=None, role__in=PLATFORM_ROLES)
                | Q(tenant__isnull=False, project=None, role=Role.TENANT_ADMIN)
                | Q(tenant__isnull=False, project__isnull=False, role__in=PROJECT_ROLES),
                name="member_role_fits_its_scope",
            ),
        ]


class Token(models.Model):
    """A bearer credential: 256 random bits, of which only the SHA-256 is kept. Read before any context is known."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="tokens")
    service_account = models.ForeignKey(ServiceAccount, models.CASCADE, null=True, related_name="tokens")
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True)
    name = models.CharField(max_length=63, blank=True, default="")
    sha256 = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, service_account=None, tenant=None)
                | Q(user=None, service_account__isnull=False, tenant__isnull=False),
                name="token_is_of_one_principal",
            )
        ]


class Quota(Owned, models.Model):
    """A limit and what is held of it. `zone_id` null: over all zones, the row that must exist. `limit` null: none."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="quotas")
    project = models.ForeignKey(Project, models.PROTECT, null=True, related_name="quotas")
    zone_id = models.UUIDField(null=True)
    resource = models.CharField(max_length=16, choices=Resource)
    limit = models.BigIntegerField(null=True)
    used = models.BigIntegerField(default=0)
    handed_down = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "project", "zone_id", "resource"], nulls_distinct=False, name="one_quota_per_scope"
            ),
            models.CheckConstraint(condition=Q(limit=None) | Q(used__lte=F("limit")), name="quota_used_within_limit"),
            models.CheckConstraint(
                condition=Q(limit=None) | Q(handed_down__lte=F("limit")), name="quota_handed_down_within_limit"
            ),
            models.CheckConstraint(condition=Q(used__gte=0, handed_down__gte=0), name="quota_never_negative"),
        ]


class LoginFailure(models.Model):
    """A wrong password, remembered for some minutes to slow down guessing."""

    name = models.CharField(max_length=63)
    source_ip = models.GenericIPAddressField(null=True)
    at = models.DateTimeField(auto_now_add=True, db_index=True)
