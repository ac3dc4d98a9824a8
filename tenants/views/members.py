"""Who has which role where."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from facet.rest.endpoint import Endpoint

from .. import members
from .. import serializers as shapes
from ..models import Member, Project, Tenant


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
