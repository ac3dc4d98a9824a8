"""Views: shape in, one call, answer out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.response import Response

from facet.operations import engine
from facet.rest.access import Actor
from facet.rest.endpoint import Endpoint, etag
from facet.rest.problems import NotFound

from . import login, members, people, quota, services
from . import serializers as shapes
from .models import Group, Member, Project, Quota, ServiceAccount, Tenant, Token, User

VERSION = "0.1.0"
SERVICE_ACCOUNTS = (
    ServiceAccount.objects.filter(project__deleted_at=None)
    .select_related("tenant", "project")
    .prefetch_related("memberships")
)


class LoginEndpoint(Endpoint):
    """Name and password for a token."""

    serializer_class = shapes.LoginAnswer
    public = frozenset({"login"})
    verbs = {"logout": "me"}
    requests = {"login": shapes.LoginRequest}
    answers = {"login": (201, shapes.LoginAnswer), "logout": (204, None)}
    placing = True  # an anonymous caller has no context; login opens the one that it needs

    def login(self, request: Any) -> Response:
        """A token for name and password. Shown once; lives a day."""
        data = self.valid()
        actor = Actor("user", None, data["username"], request._request.source_ip, request._request.request_id)
        user, token, text = login.log_in(name=data["username"], password=data["password"], by=actor)
        body = {"token": text, "expires_at": token.expires_at, "user": {"id": user.id, "name": user.name}}
        return Response(body, status=201)

    def logout(self, request: Any) -> Response:
        """End the token, or the session, that this request carries."""
        with self.access.context():
            if self.access.token_id is not None:
                Token.objects.filter(pk=self.access.token_id).delete()
        if self.access.by_session:
            request._request.session.flush()
        return Response(status=204)


class MeEndpoint(Endpoint):
    """Who am I, and what may I do where."""

    serializer_class = shapes.MeSerializer
    verbs = {"retrieve": "me"}

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        access = request._request.access
        tenants = dict(Tenant.objects.filter(pk__in=access.tenants).values_list("id", "name"))
        projects = dict(Project.objects.filter(tenant_id__in=access.tenants).values_list("id", "name"))
        roles = [
            {
                "role": grant.role,
                "tenant": named(grant.tenant_id, tenants),
                "project": named(grant.project_id, projects),
            }
            for grant in access.grants
        ]
        host = request._request.get_host().partition(":")[0]
        stream = settings.FACET_EVENTS_URL or f"{request.scheme}://{host}:{settings.FACET_EVENTS_PORT}"
        actor = access.actor
        body = {"kind": actor.kind, "id": actor.id, "name": actor.name, "roles": roles, "stream_url": stream}
        return Response(body | {"version": VERSION})


def named(id: UUID | None, names: Mapping[UUID, str]) -> dict[str, Any] | None:
    return {"id": id, "name": names.get(id, "")} if id else None


class UserEndpoint(Endpoint):
    """People."""

    queryset = User.objects.all()
    serializer_class = shapes.UserSerializer
    verbs = {"list": "user.read", "retrieve": "user.read", "create": "user.write", "update": "user.write"}
    requests = {"create": shapes.UserRequest, "update": shapes.UserChange}
    answers = {"create": (201, shapes.UserSerializer)}

    def create(self, request: Any) -> Response:
        data = self.valid()
        return self.once(lambda: (201, self.get_serializer(people.create_user(**data, by=self.access.actor)).data))

    def update(self, request: Any, **kwargs: Any) -> Response:
        user = self.get_object()
        self.check_if_match(user, lambda found: self.get_serializer(found).data)
        return self.shown(people.update_user(user=user, changes=dict(self.valid()), by=self.access.actor))


class GroupEndpoint(Endpoint):
    """People who get roles together."""

    queryset = Group.objects.prefetch_related("users")
    serializer_class = shapes.GroupSerializer
    verbs = {
        "list": "user.read",
        "retrieve": "user.read",
        "create": "user.write",
        "update": "user.write",
        "destroy": "user.write",
    }
    requests = {"create": shapes.GroupRequest, "update": shapes.GroupChange}
    answers = {"create": (201, shapes.GroupSerializer), "destroy": (204, None)}

    def create(self, request: Any) -> Response:
        data = self.valid()

        def work() -> tuple[int, Any]:
            group = people.set_group(group=None, name=data["name"], users=data.get("users", []), by=self.access.actor)
            return 201, self.get_serializer(group).data

        return self.once(work)

    def update(self, request: Any, **kwargs: Any) -> Response:
        group = self.get_object()
        self.check_if_match(group, lambda found: self.get_serializer(found).data)
        data = self.valid()
        return self.shown(
            people.set_group(group=group, name=data.get("name"), users=data.get("users"), by=self.access.actor)
        )

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        people.delete_group(group=self.get_object(), by=self.access.actor)
        return Response(status=204)


class OwnTokenEndpoint(Endpoint):
    """The caller's own tokens."""

    serializer_class = shapes.TokenSerializer
    verbs = {"list": "own-token", "create": "own-token", "destroy": "own-token"}
    requests = {"create": shapes.TokenRequest}
    answers = {"create": (201, shapes.SecretSerializer), "destroy": (204, None)}
    secret_answers = frozenset({"create"})
    queryset = Token.objects.all()

    def get_queryset(self) -> QuerySet[Token]:
        actor = self.access.actor
        column = "user_id" if actor.kind == "user" else "service_account_id"
        return Token.objects.filter(**{column: actor.id})

    def authorize(self) -> None:
        """Whose token it is decides: one's own, or (a service account's) by the right to its project."""
        if self.action != "destroy":
            return super().authorize()
        token = Token.objects.filter(pk=self.kwargs["pk"]).select_related("service_account").first()
        actor = self.access.actor
        if token is not None and actor.id in (token.user_id, token.service_account_id):
            self.found = token
            return None
        account = token.service_account if token else None
        if token is None or account is None:
            if token is not None and self.access.may("user.write"):
                self.found = token
                return None
            raise NotFound("There is no such object, or it is not yours.")
        ServiceAccountTokenEndpoint.require(self.access, account)
        self.found = token
        return None

    def create(self, request: Any) -> Response:
        data = self.valid()
        actor = self.access.actor
        return self.once(lambda: secret(issue_for(actor, data, actor)))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        members.end_token(token=self.get_object(), by=self.access.actor)
        return Response(status=204)


def issue_for(who: Actor, data: Mapping[str, Any], by: Actor) -> tuple[Token, str]:
    user = User.objects.get(pk=who.id) if who.kind == "user" else None
    account = None if user else ServiceAccount.objects.get(pk=who.id)
    return members.issue_token(user=user, account=account, name=data["name"], life_s=data["expires_in_s"], by=by)


def secret(issued: tuple[Token, str]) -> tuple[int, Any]:
    token, text = issued
    return 201, {"id": token.id, "name": token.name, "token": text, "expires_at": token.expires_at}


class TenantEndpoint(Endpoint):
    """Customers of the infrastructure."""

    queryset = Tenant.objects.filter(deleted_at=None)
    serializer_class = shapes.TenantSerializer
    verbs = {
        "list": "tenant.read",
        "retrieve": "tenant.read",
        "create": "tenant.write",
        "update": "tenant.write",
        "destroy": "tenant.write",
    }
    requests = {"create": shapes.TenantRequest, "update": shapes.TenantChange}
    answers = {"create": (201, shapes.TenantSerializer), "destroy": (204, None)}

    def create(self, request: Any) -> Response:
        data = self.valid()
        limits = data.pop("quota")
        return self.once(
            lambda: (
                201,
                self.get_serializer(services.create_tenant(**data, limits=limits, by=self.access.actor)).data,
            )
        )

    def update(self, request: Any, **kwargs: Any) -> Response:
        tenant = self.get_object()
        self.check_if_match(tenant, lambda found: self.get_serializer(found).data)
        return self.shown(services.update_tenant(tenant=tenant, changes=dict(self.valid()), by=self.access.actor))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        services.delete_tenant(tenant=self.get_object(), by=self.access.actor)
        return Response(status=204)


class TenantProjectEndpoint(Endpoint):
    """A tenant's projects."""

    parent_model = Tenant
    queryset = Project.objects.filter(deleted_at=None).select_related("tenant")
    serializer_class = shapes.ProjectSerializer
    verbs = {"list": "tenant.read", "create": "project.create"}
    requests = {"create": shapes.TenantRequest}
    answers = {"create": (201, shapes.ProjectSerializer)}

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(tenant_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        data = self.valid()
        limits = data.pop("quota")

        def work() -> tuple[int, Any]:
            project = services.create_project(tenant=self.parent, **data, limits=limits, by=self.access.actor)
            return 201, self.get_serializer(project).data

        return self.once(work)


class ProjectEndpoint(Endpoint):
    """Teams' parts of tenants."""

    queryset = Project.objects.filter(deleted_at=None).select_related("tenant")
    serializer_class = shapes.ProjectSerializer
    verbs = {"list": "project.read", "retrieve": "project.read", "update": "project.write", "destroy": "project.write"}
    requests = {"update": shapes.TenantChange}
    answers = {"destroy": (204, None)}
    filter_fields = ("name", "tenant_id")

    def update(self, request: Any, **kwargs: Any) -> Response:
        project = self.get_object()
        self.check_if_match(project, lambda found: self.get_serializer(found).data)
        return self.shown(services.update_project(project=project, changes=dict(self.valid()), by=self.access.actor))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        services.delete_project(project=self.get_object(), by=self.access.actor)
        return Response(status=204)


class TenantQuotaEndpoint(Endpoint):
    """Limits of a tenant, and what is held of them."""

    parent_model = Tenant
    pagination_class = None
    serializer_class = shapes.QuotaSerializer
    queryset = Quota.objects.all()
    verbs = {"retrieve": "tenant-quota.read", "replace": "tenant-quota.write", "update": "tenant-quota.write"}
    requests = {"replace": shapes.QuotaRequest, "update": shapes.QuotaRequest}

    def of_whom(self) -> tuple[Tenant, Project | None]:
        return self.parent, None

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """GET"""
        return self.shown(quota.Sheet.of(*self.of_whom()))

    def shown(self, found: quota.Sheet, status: int = 200) -> Response:
        return Response(self._items(found), status=status, headers={"ETag": etag(found)})

    @staticmethod
    def _items(found: quota.Sheet) -> dict[str, Any]:
        return {"items": quota.show(found.rows, engine.wiring().zone_names())}

    def replace(self, request: Any, **kwargs: Any) -> Response:
        """Set all limits of one scope: what is not named goes to zero (in a zone: is not narrowed there)."""
        return self._set(replace=True)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Set the named limits of one scope."""
        return self._set(replace=False)

    def _set(self, *, replace: bool) -> Response:
        data = self.valid()
        tenant, project = self.of_whom()
        quota.lock(tenant, project)
        self.check_if_match(quota.Sheet.of(tenant, project), self._items)
        zone_id = engine.wiring().zone_id(data["zone"]) if data["zone"] else None
        quota.set_limits(
            tenant=tenant,
            project=project,
            limits=data["limits"],
            zone_id=zone_id,
            replace=replace,
            by=self.access.actor,
        )
        return self.retrieve(self.request)


class ProjectQuotaEndpoint(TenantQuotaEndpoint):
    """Limits of a project, cut from its tenant's."""

    parent_model = Project
    verbs = {"retrieve": "project-quota.read", "replace": "project-quota.write", "update": "project-quota.write"}

    def of_whom(self) -> tuple[Tenant, Project | None]:
        return self.parent.tenant, self.parent


class MemberEndpoint(Endpoint):
    """Who has which role at a tenant."""

    parent_model = Tenant
    serializer_class = shapes.MemberSerializer
    queryset = Member.objects.select_related("user", "group", "service_account")
    verbs = {"list": "tenant-member.read", "create": "tenant-member.write"}
    requests = {"create": shapes.MemberRequest}
    answers = {"create": (201, shapes.MemberSerializer)}
    filter_fields = ("role",)

    def place(self) -> tuple[Tenant | None, Project | None]:
        return self.parent, None

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(tenant_id=self.kwargs["parent_pk"], project=None)

    def create(self, request: Any, **kwargs: Any) -> Response:
        data = self.valid()
        tenant, project = self.place()

        def work() -> tuple[int, Any]:
            member = members.add_member(tenant=tenant, project=project, **data, by=self.access.actor)
            return 201, self.get_serializer(member).data

        return self.once(work)


class ProjectMemberEndpoint(MemberEndpoint):
    """Who has which role at a project."""

    parent_model = Project
    verbs = {"list": "project-member.read", "create": "project-member.write"}

    def place(self) -> tuple[Tenant | None, Project | None]:
        return self.parent.tenant, self.parent

    def get_queryset(self) -> Any:
        return Endpoint.get_queryset(self).filter(project_id=self.kwargs["parent_pk"])


class PlatformMemberEndpoint(MemberEndpoint):
    """Who runs the platform."""

    parent_model = None
    verbs = {"list": "platform-member.read", "create": "platform-member.write"}

    def place(self) -> tuple[Tenant | None, Project | None]:
        return None, None

    def get_queryset(self) -> Any:
        return Endpoint.get_queryset(self).filter(tenant=None)


class OneMemberEndpoint(Endpoint):
    """A membership, wherever it is."""

    queryset = Member.objects.select_related("user", "group", "service_account")
    serializer_class = shapes.MemberSerializer
    verbs = {"destroy": "tenant-member.write"}
    answers = {"destroy": (204, None)}

    def authorize(self) -> None:
        member = Member.objects.filter(pk=self.kwargs["pk"]).first()
        if member is not None and member.tenant_id is None:
            self.verbs = {"destroy": "platform-member.write"}
        elif member is not None and member.project_id is not None:
            self.verbs = {"destroy": "project-member.write"}
        super().authorize()

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        members.remove_member(member=self.get_object(), by=self.access.actor)
        return Response(status=204)


class ProjectServiceAccountEndpoint(Endpoint):
    """A project's service accounts: processes that act on their own."""

    parent_model = Project
    queryset = SERVICE_ACCOUNTS
    serializer_class = shapes.ServiceAccountSerializer
    verbs = {"list": "service-account.read", "create": "service-account.write"}
    requests = {"create": shapes.ServiceAccountRequest}
    answers = {"create": (201, shapes.ServiceAccountSerializer)}

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(project_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        data = self.valid()

        def work() -> tuple[int, Any]:
            account = members.create_service_account(project=self.parent, **data, by=self.access.actor)
            return 201, self.get_serializer(account).data

        return self.once(work)


class ServiceAccountEndpoint(Endpoint):
    """One service account."""

    queryset = SERVICE_ACCOUNTS
    serializer_class = shapes.ServiceAccountSerializer
    verbs = {"retrieve": "service-account.read", "destroy": "service-account.write"}
    answers = {"destroy": (204, None)}

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        members.delete_service_account(account=self.get_object(), by=self.access.actor)
        return Response(status=204)


class ServiceAccountTokenEndpoint(Endpoint):
    """A service account's tokens."""

    parent_model = ServiceAccount
    queryset = Token.objects.all()
    serializer_class = shapes.TokenSerializer
    verbs = {"list": "service-account-token.read", "create": "service-account-token.write"}
    requests = {"create": shapes.TokenRequest}
    answers = {"create": (201, shapes.SecretSerializer)}
    secret_answers = frozenset({"create"})

    def get_parents(self) -> Any:
        return SERVICE_ACCOUNTS

    @staticmethod
    def require(access: Any, account: ServiceAccount) -> None:
        """404 unless the caller may write tokens of this account's project."""
        if not access.may("service-account-token.write", tenant_id=account.tenant_id, project_id=account.project_id):
            raise NotFound("There is no such object, or it is not yours.")

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(service_account_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        data = self.valid()
        return self.once(
            lambda: secret(
                members.issue_token(
                    account=self.parent, name=data["name"], life_s=data["expires_in_s"], by=self.access.actor
                )
            )
        )
