"""Logging in and out, and who one is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework.response import Response

from facet.rest.access import Actor
from facet.rest.endpoint import Endpoint

from .. import login
from .. import serializers as shapes
from ..models import Project, Tenant, Token

VERSION = "0.1.0"


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
