"""A small client of the API inside the test process: Django's own, with a Bearer token and JSON both ways."""

from __future__ import annotations

import json as jsonlib
from typing import Any

from django.test import Client
from django.test.client import ClientHandler

HANDLER = ClientHandler(enforce_csrf_checks=False)  # one for all clients: loading the middleware takes 6 ms


class Answer:
    """Status, headers and the decoded body of an answer."""

    def __init__(self, response: Any) -> None:
        self.status = response.status_code
        self.headers = response.headers
        kind = response.headers.get("Content-Type", "")
        self.body = response.json() if "json" in kind and response.content else response.content
        self.is_problem = kind.startswith("application/problem+json")

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    def __repr__(self) -> str:
        return f"<{self.status} {self.body!r}>"


class Api:
    """`Api(token).post("tenants", {...})`: paths below /api/v1."""

    def __init__(self, token: str | None = None) -> None:
        self.client = Client(raise_request_exception=True)
        self.client.handler = HANDLER
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, json: Any = None, **headers: str) -> Answer:
        return Answer(
            self.client.generic(
                method,
                f"/api/v1/{path}",
                data="" if json is None else jsonlib.dumps(json),
                content_type="application/json",
                headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()},
            )
        )

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, **headers)

    def post(self, path: str, json: Any = None, **headers: str) -> Answer:
        return self.call("POST", path, {} if json is None else json, **headers)

    def patch(self, path: str, json: Any = None, **headers: str) -> Answer:
        return self.call("PATCH", path, json, **headers)

    def put(self, path: str, json: Any = None, **headers: str) -> Answer:
        return self.call("PUT", path, json, **headers)

    def delete(self, path: str, **headers: str) -> Answer:
        return self.call("DELETE", path, **headers)
