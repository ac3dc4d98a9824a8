"""For every request: an id and a log line; then who asks."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse

from facet.operations import metrics
from facet.rest.ids import uuid7
from tenants import access, credentials

log = structlog.get_logger("facet.request")
GIVEN_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")
GetResponse = Callable[[HttpRequest], HttpResponse]


class Requests:
    """Gives each request an id (the caller's X-Request-Id if it is decent) and logs how it ended."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if GIVEN_ID.match(given) else str(uuid7())
        request.source_ip = source_ip(request)
        if not _trusted(request.META.get("REMOTE_ADDR", "")):
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)  # only a proxy of ours may say that the way to it is TLS
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(request=request.request_id):
            response = self.get_response(request)
            seconds = time.monotonic() - started
            if request.path not in ("/healthz", "/readyz", "/metrics"):
                log.info(
                    "request",
                    method=request.method,
                    path=request.path,
                    status=response.status_code,
                    ms=round(seconds * 1000, 1),
                )
                route = request.resolver_match.route if request.resolver_match else "none"
                metrics.answered(method=request.method, route=route, status=response.status_code, seconds=seconds)
        response["X-Request-Id"] = request.request_id
        bodiless = response.streaming or response.status_code in (204, 304)
        if not bodiless and "Content-Length" not in response.headers:  # else it would be sent in chunks
            response["Content-Length"] = str(len(response.content))
        return response


def source_ip(request: Any) -> str | None:
    """The caller's address; X-Forwarded-For is believed only from the proxies that the settings name."""
    peer: str = request.META.get("REMOTE_ADDR", "")
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and _trusted(peer):
        peer = hops.pop()
    try:
        return str(ipaddress.ip_address(peer))
    except ValueError:
        return None


def _trusted(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(proxy) for proxy in settings.FACET_TRUSTED_PROXIES)


class WhoAsks:
    """Puts the caller's Access on the request: from a Bearer token, else from a session, else anonymous."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        request.access = self.caller(request) or access.ANONYMOUS
        return self.get_response(request)

    @staticmethod
    def caller(request: Any) -> access.Caller | None:
        known = {"source_ip": request.source_ip, "request_id": request.request_id}
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme:
            return credentials.by_token(token.strip(), **known) if scheme.lower() == "bearer" and token else None
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            user_id = request.session.get(SESSION_KEY)
            return credentials.by_session(user_id, **known) if user_id else None
        return None
