"""What the OpenAPI schema says of every endpoint: its errors, its Idempotency-Key, its If-Match."""

from __future__ import annotations

from typing import Any, cast

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from .problems import CONTENT_TYPE, ProblemSerializer

SENTENCES = {
    "400": "The body is not JSON, or nested too deeply.",
    "401": "Not logged in.",
    "403": "Your roles do not include this.",
    "404": "No such object, or not yours.",
    "406": "No answer in a form that you accept.",
    "409": "The state of the world does not allow it: a conflict, a quota, no room.",
    "412": "Changed since you looked (If-Match).",
    "413": "The body is too long.",
    "415": "Send application/json.",
    "422": "A field is wrong; `errors` names it.",
    "429": "Too many tries.",
    "503": "Try again.",
}

KEY = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
ETAG = {"type": "string", "pattern": r'^(\*|"[0-9]+")$'}
FILTERS = {"UUIDField": OpenApiTypes.UUID, "BooleanField": OpenApiTypes.BOOL}  # by the column's type; else a text


class FacetSchema(AutoSchema):
    def get_tags(self) -> list[str]:
        parts = [part for part in self.path.removeprefix("/api/v1").split("/") if part and not part.startswith("{")]
        return parts[-1:] if parts else ["api"]

    def get_operation_id(self) -> str:
        verb = {"GET": "read", "POST": "create", "PUT": "replace", "PATCH": "update", "DELETE": "delete"}[self.method]
        path = self.path.removeprefix("/api/v1").replace("{parent_pk}", "of").replace("{id}", "one").strip("/")
        return f"{verb}_{path}".replace("/", "_").replace("-", "_").replace("{", "").replace("}", "")

    def get_override_parameters(self) -> list[Any]:
        more: list[Any] = list(super().get_override_parameters())
        if self.method == "POST":
            more.append(
                OpenApiParameter(
                    "Idempotency-Key", KEY, OpenApiParameter.HEADER, description="Say it twice, done once."
                )
            )
        if self.method in ("PUT", "PATCH") or (
            getattr(self.view, "action", None) in getattr(self.view, "conditional", ())
        ):
            more.append(
                OpenApiParameter("If-Match", ETAG, OpenApiParameter.HEADER, description="The ETag that you saw.")
            )
        if self._is_list_view():
            more += [self._filter(field) for field in getattr(self.view, "filter_fields", ())]
        return more

    def _filter(self, name: str) -> OpenApiParameter:
        """A filter takes what its column holds; where the rows depend on the route it is known to be a text."""
        kind, rows = "", getattr(self.view, "queryset", None)
        if rows is not None:
            column = rows.model._meta.get_field(name)
            kind = getattr(column, "target_field", column).get_internal_type()
        return OpenApiParameter(name, FILTERS.get(kind, OpenApiTypes.STR))

    def get_request_serializer(self) -> Any:
        kind = getattr(self.view, "requests", {}).get(getattr(self.view, "action", None))
        if kind is not None:
            return kind
        return None if hasattr(self.view, "requests") else super().get_request_serializer()

    def get_response_serializers(self) -> Any:
        answer = getattr(self.view, "answers", {}).get(getattr(self.view, "action", None))
        return {answer[0]: answer[1]} if answer else super().get_response_serializers()

    def get_filter_backends(self) -> list[Any]:
        return []

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(cast(Any, direction))
        answer = OpenApiResponse(ProblemSerializer)
        for status, sentence in SENTENCES.items():
            if status not in bodies:
                bodies[status] = self._get_response_for_code(  # type: ignore[no-untyped-call]  # drf-spectacular has no types here
                    answer, status, [CONTENT_TYPE], direction
                )
                bodies[status]["description"] = sentence
        return bodies


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "facet.rest.authentication.OnTheRequest"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
