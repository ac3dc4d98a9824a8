"""Users and groups."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from facet.rest.endpoint import Endpoint

from .. import people
from .. import serializers as shapes
from ..models import Group, User


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
