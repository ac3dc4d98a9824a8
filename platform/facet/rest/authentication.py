"""The middleware has already read the token or session; DRF only needs to know about it, and to ask for CSRF."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import PermissionDenied


class OnTheRequest(BaseAuthentication):
    """Takes `request.access`. A session (a cookie) needs a CSRF token on unsafe methods, a Bearer token does not."""

    def authenticate(self, request: Any) -> tuple[Any, None] | None:
        access = request._request.access
        if not access.authenticated:
            return None
        if access.by_session:
            check = CSRFCheck(lambda _: None)  # type: ignore[arg-type]  # a middleware at the end of its chain
            check.process_request(request._request)
            reason = check.process_view(request._request, None, (), {})  # type: ignore[arg-type]  # it asks the view nothing
            if reason:
                raise PermissionDenied(f"CSRF: {reason}")
        return access.actor, None

    def authenticate_header(self, request: Any) -> str:
        return 'Bearer realm="facet"'
