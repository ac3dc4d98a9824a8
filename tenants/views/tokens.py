"""Tokens: one's own, and those of a project's service accounts, which are here too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.response import Response

from facet.rest.access import Actor
from facet.rest.endpoint import Endpoint
from facet.rest.problems import NotFound

from .. import members
from .. import serializers as shapes
from ..models import Project, ServiceAccount, Token, User

SERVICE_ACCOUNTS = (
    ServiceAccount.objects.filter(project__deleted_at=None)
    .select_related("tenant", "project")
    .prefetch_related("memberships")
)


def issue_for(who: Actor, data: Mapping[str, Any], by: Actor) -> tuple[Token, str]:
    user = User.objects.get(pk=who.id) if who.kind == "user" else None
    account = None if user else ServiceAccount.objects.get(pk=who.id)
    return members.issue_token(user=user, account=account, name=data["name"], life_s=data["expires_in_s"], by=by)


def secret(issued: tuple[Token, str]) -> tuple[int, Any]:
    token, text = issued
    return 201, {"id": token.id, "name": token.name, "token": text, "expires_at": token.expires_at}


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
