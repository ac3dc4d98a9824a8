"""The base of every page: who may see it, in which database context, and what answers when not."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views import View
from django_htmx.http import HttpResponseClientRedirect

from facet.rest.access import Access
from facet.rest.problems import Forbidden, NotFound

BUSY_S, CALM_S = 3, 30  # how often a page looks again by itself, while something is under way and while nothing is


class Page(View):
    """One page. `show` reads what it needs inside the caller's database context; the template is rendered there too."""

    template: ClassVar[str]
    http_method_names = ["get", "head"]

    @property
    def access(self) -> Access:
        access: Access = self.request.access  # type: ignore[attr-defined]  # put there by the wiring's middleware
        return access

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if request.method.lower() not in self.http_method_names:
            return self.http_method_not_allowed(request)
        if not request.access.authenticated:
            return to_login(request)
        try:
            with request.access.context():
                found = self.show(**kwargs)
                return answer(request, self.template, found)
        except NotFound:
            return answer(request, "console/404.html", {}, status=404)
        except Forbidden as refusal:
            return answer(request, "console/403.html", {"detail": refusal.detail}, status=403)

    def show(self, **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError

    def visible(self, queryset: Any, pk: UUID, verb: str) -> Any:
        """The object, judged as the REST API judges it. Raises NotFound, then Forbidden."""
        found = self.access.scope(queryset).filter(pk=pk).first()
        if found is None:
            raise NotFound("There is no such object, or it is not yours.")
        tenant_id = getattr(found, "owner_tenant_id", None)
        project_id = getattr(found, "owner_project_id", None)
        if not self.access.may(verb, tenant_id=tenant_id, project_id=project_id):
            raise Forbidden(f"Your roles do not include {verb} here.")
        return found

    def require(self, verb: str) -> None:
        if not self.access.may(verb):
            raise Forbidden(f"Your roles do not include {verb}.")


def answer(request: Any, template: str, found: dict[str, Any], status: int = 200) -> HttpResponse:
    """A page of the console, never kept by a cache."""
    every_s = BUSY_S if found.get("busy") else CALM_S
    more = {"access": request.access, "path": request.get_full_path(), "every_s": every_s, "now": timezone.now()}
    response = render(request, template, {**more, **found}, status=status)
    response["Cache-Control"] = "private, no-store"
    return response


def to_login(request: HttpRequest) -> HttpResponse:
    """Where an anonymous caller goes, and comes back from. A refreshing page is sent there as a whole."""
    address = f"/login?next={quote(request.get_full_path(), safe='')}"
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(address)
    return HttpResponseRedirect(address)
