"""Every refusal is a problem+json document (RFC 9457) with a stable `code`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.http import Http404, JsonResponse
from psycopg2.errors import ForeignKeyViolation  # type: ignore[import-untyped]  # it has no types
from rest_framework import exceptions, serializers
from rest_framework.response import Response

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal. `detail` is a sentence for people; `more` is data for programs (JSON-able)."""

    status = 409
    code = "conflict"

    def __init__(self, detail: str, *, code: str | None = None, status: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.status = status or self.status
        self.more = more

    def document(self) -> dict[str, Any]:
        return document(self.status, self.code, self.detail, **self.more)


class Conflict(Problem):
    """409: the state of the world does not allow it."""


class NameTaken(Problem):
    code = "name_taken"


class InUse(Problem):
    code = "in_use"


class Invalid(Problem):
    """422: the request names something that cannot be. `errors` maps field to sentences."""

    status = 422
    code = "invalid"

    def __init__(self, errors: Mapping[str, str | Sequence[str]], **more: Any) -> None:
        lists = {field: [text] if isinstance(text, str) else list(text) for field, text in errors.items()}
        first = next(iter(lists.items()), ("", [""]))
        super().__init__(f"{first[0]}: {first[1][0]}", errors=lists, **more)


class NotFound(Problem):
    status = 404
    code = "not_found"


class Forbidden(Problem):
    status = 403
    code = "forbidden"


class PreconditionFailed(Problem):
    status = 412
    code = "precondition_failed"


def document(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """The body of a problem."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="stable, for programs")
    detail = serializers.CharField(help_text="a sentence for people")
    instance = serializers.CharField(required=False)
    request_id = serializers.CharField(required=False)
    errors = serializers.DictField(  # type: ignore[assignment]  # declared, it is a field; DRF moves it out of the way
        child=serializers.ListField(child=serializers.CharField()), required=False
    )
    limits = serializers.ListField(child=serializers.DictField(), required=False)
    filters = serializers.ListField(child=serializers.DictField(), required=False)
    nearest = serializers.ListField(child=serializers.DictField(), required=False)
    holders = serializers.ListField(child=serializers.DictField(), required=False)
    current = serializers.DictField(required=False)


_FIXED: list[tuple[type[Exception], int, str]] = [
    (Http404, 404, "not_found"),
    (PermissionDenied, 403, "forbidden"),
    (exceptions.NotAuthenticated, 401, "not_authenticated"),
    (exceptions.AuthenticationFailed, 401, "not_authenticated"),
    (exceptions.PermissionDenied, 403, "forbidden"),
    (RequestDataTooBig, 413, "too_large"),
    (SuspiciousOperation, 400, "malformed"),
    (exceptions.ParseError, 400, "malformed"),
    (exceptions.UnsupportedMediaType, 415, "unsupported_media_type"),
    (exceptions.NotAcceptable, 406, "not_acceptable"),
    (exceptions.MethodNotAllowed, 405, "method_not_allowed"),
    (exceptions.Throttled, 429, "throttled"),
]


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception stands for; None for a fault of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, exceptions.ValidationError):
        return Invalid(flatten(error.detail))
    if isinstance(error, Http404):
        return NotFound("There is no such object, or it is not yours.")
    for kind, status, code in _FIXED:
        if isinstance(error, kind):
            return Problem(str(getattr(error, "detail", "") or str(error) or code), code=code, status=status)
    if isinstance(error, OperationalError | InterfaceError):
        return Problem("The database did not answer in time. Try again.", code="unavailable", status=503)
    if isinstance(error, IntegrityError) and isinstance(error.__cause__, ForeignKeyViolation):  # seen at the commit
        return Conflict("Something that this needs has gone, or is needed by something new. Look again.")
    return None


def flatten(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """DRF's nested error detail as `{"a.b.0": ["sentence"]}`."""
    if isinstance(detail, dict):
        out: dict[str, list[str]] = {}
        for name, value in detail.items():
            out |= flatten(value, f"{prefix}.{name}" if prefix else str(name))
        return out
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        out = {}
        for index, value in enumerate(detail):
            if value:
                out |= flatten(value, f"{prefix}.{index}" if prefix else str(index))
        return out
    texts = [str(item) for item in detail] if isinstance(detail, list) else [str(detail)]
    return {prefix or "non_field_errors": texts}


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's hook: the answer for an exception, and no half-done work left in the open transaction."""
    problem = problem_of(error)
    if problem is None:
        return None
    if transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)
    body = _body(problem, context["request"])
    if problem.status == 503:
        log.warning("answered 503", error=(str(error) or type(error).__name__).splitlines()[0])
    response = Response(body, status=problem.status, content_type=CONTENT_TYPE)
    if problem.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="facet"'
    wait = getattr(error, "wait", None)
    if wait:
        response["Retry-After"] = str(int(wait) + 1)
    return response


def plain(request: Any, problem: Problem) -> JsonResponse:
    """The same document outside DRF: for middleware and the handlers of unknown paths."""
    return JsonResponse(_body(problem, request), status=problem.status, content_type=CONTENT_TYPE)


def _body(problem: Problem, request: Any) -> dict[str, Any]:
    return problem.document() | {"instance": request.path, "request_id": getattr(request, "request_id", "")}
