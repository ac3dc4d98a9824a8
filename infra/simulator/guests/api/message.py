"""A request as the API reads it, and an answer as it gives it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from infra.simulator.guests.api import protobuf
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.cloudconfig import Loader

JSON = "application/json"


class Host(Protocol):
    """The control plane whose API server was asked."""

    @property
    def address(self) -> str:
        """Where it listens, without the port."""

    @property
    def api_version(self) -> str:
        """The version of Kubernetes it runs, such as v1.34.2."""

    def read(self, path: str) -> bytes | None:
        """A file of its disk."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Request:
        parts = urlsplit(target)
        return cls(method, unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)

    def content_type(self) -> str:
        return self.headers.get("content-type", JSON).partition(";")[0].strip()

    def parsed(self) -> Any:
        """The body as data. Raises ApiError 400 or 415."""
        kind = self.content_type()
        if kind == protobuf.MEDIA_TYPE:
            return protobuf.decode(self.body)
        try:
            if kind in ("application/yaml", "application/apply-patch+yaml"):
                return yaml.load(self.body, Loader=Loader)  # noqa: S506 it is the safe loader, in C
            if kind == JSON or kind.endswith("+json"):
                return json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise ApiError(400, f"the body is not {kind}: {error}") from error
        raise ApiError(415, f"the body of the request was in an unknown format - accepted media types: {JSON}")

    def object(self) -> Obj:
        data = self.parsed()
        if not isinstance(data, dict) or not isinstance(data.get("metadata", {}) or {}, dict):
            raise ApiError(400, "the body is not an object")
        return {**data, "metadata": data.get("metadata") or {}}

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    @property
    def dry(self) -> bool:
        return "dryRun" in self.query


@dataclass
class Response:
    status: int
    body: bytes = b""
    content_type: str = JSON
    stream: AsyncIterator[bytes] | None = None


def answer(obj: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(obj, separators=(",", ":")).encode())


def text(words: str, status: int = 200) -> Response:
    return Response(status, words.encode(), "text/plain; charset=utf-8")
