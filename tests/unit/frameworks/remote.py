"""A cluster's API as one writes it down for a test: answers by method and path. What is asked is kept."""

from __future__ import annotations

import json
from typing import Any

import httpx

from facet.clusters.frameworks.kubernetes.client import Client


class Remote:
    """`on("GET /path", ...)` takes objects, (status, object) or exceptions: one a call, the last for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.bodies: list[Any] = []

    def on(self, call: str, *answers: Any) -> Remote:
        self.answers[call] = list(answers)
        return self

    def http(self, base_url: str = "https://shop.example.com:6443") -> httpx.Client:
        return httpx.Client(base_url=base_url, transport=httpx.MockTransport(self._answer))

    def client(self) -> Client:
        return Client(self.http())

    def _answer(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.path}"
        self.asked.append(call)
        self.bodies.append(json.loads(request.content) if request.content else None)
        left = self.answers.get(call)
        if left is None:
            return httpx.Response(404, json={"kind": "Status", "message": f"{request.url.path} not found"})
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, text=body) if isinstance(body, str) else httpx.Response(status, json=body)
