"""The page behind the link of `facet-manage init`: name and password of the first admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpResponse, HttpResponseRedirect
from django.views import View

from facet.rest.access import Actor
from facet.rest.fields import valid_name
from facet.rest.problems import Problem
from tenants import first_admin

from .page import answer


class AdminForm(forms.Form):
    name = forms.CharField(max_length=63, validators=[valid_name])
    password = forms.CharField(max_length=1024, strip=False)
    again = forms.CharField(max_length=1024, strip=False)


class Welcome(View):
    """GET shows the form to whoever has the link; POST makes the admin and leads to the login."""

    http_method_names = ["get", "head", "post"]

    def get(self, request: Any) -> HttpResponse:
        try:
            first_admin.check(request.GET.get("token", ""))
        except Problem as refusal:
            return self.form(request, refusal.detail, status=refusal.status, closed=True)
        return self.form(request)

    def post(self, request: Any) -> HttpResponse:
        form = AdminForm(request.POST)
        if not form.is_valid():
            sentence = next(iter(form.errors.values()))[0]
            return self.form(request, str(sentence), status=422)
        given = form.cleaned_data
        if given["password"] != given["again"]:
            return self.form(request, "The two passwords differ.", status=422)
        who = Actor("system", None, "facet-manage init", request.source_ip, request.request_id)
        token = request.POST.get("token", "")
        try:
            first_admin.make(token=token, name=given["name"], password=given["password"], by=who)
        except Problem as refusal:
            closed = refusal.status in (403, 409)
            return self.form(request, refusal.detail, status=refusal.status, closed=closed)
        return HttpResponseRedirect("/login")

    @staticmethod
    def form(request: Any, refusal: str = "", status: int = 200, closed: bool = False) -> HttpResponse:
        token = request.POST.get("token") or request.GET.get("token", "")
        found = {"refusal": refusal, "closed": closed, "token": token, "name": request.POST.get("name", "admin")}
        return answer(request, "console/welcome.html", found, status=status)
