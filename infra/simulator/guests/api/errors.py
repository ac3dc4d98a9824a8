"""Refusals, as Kubernetes words them: a Status object with a reason and a code."""

from __future__ import annotations

from infra.simulator.guests.api.resources import Obj, Resource

REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    406: "NotAcceptable", 409: "Conflict", 410: "Expired", 413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
    501: "NotImplemented", 503: "ServiceUnavailable",
}  # fmt: skip


class ApiError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, code: int, message: str, reason: str = "", details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or REASONS[code]
        self.details = details or {}

    def status(self) -> Obj:
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "details": self.details, "code": self.code,
        }  # fmt: skip


def _details(resource: Resource, name: str) -> Obj:
    return {"name": name, "group": resource.group, "kind": resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, f'{resource.key} "{name}" not found', details=_details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    return ApiError(409, f'{resource.key} "{name}" already exists', "AlreadyExists", _details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.key} "{name}": {why}'
    return ApiError(409, message, details=_details(resource, name))


def invalid(resource: Resource, name: str, field: str, why: str) -> ApiError:
    cause = {"reason": "FieldValueInvalid", "message": why, "field": field}
    details = {**_details(resource, name), "kind": resource.kind, "causes": [cause]}
    return ApiError(422, f'{resource.kind}.{resource.group} "{name}" is invalid: {field}: {why}', details=details)


def not_simulated(what: str) -> ApiError:
    return ApiError(501, f"this is a simulated cluster: it does not serve {what}")
