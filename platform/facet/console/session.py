"""Logging in and out by a form. The session holds the user's id under Django's own key, which the middleware reads."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib.auth import SESSION_KEY
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from facet.rest.access import Actor
from facet.rest.problems import Problem
from tenants import login

from .page import answer

HOME = "/"


class LoginForm(forms.Form):
    """Shapes only: what no name or password can be never reaches the database."""

    name = forms.CharField(max_length=63)
    password = forms.CharField(max_length=1024, strip=False)


class Login(View):
    """GET shows the form; POST begins a session, or says why not."""

    http_method_names = ["get", "head", "post"]

    def get(self, request: Any) -> HttpResponse:
        if request.access.authenticated:
            return HttpResponseRedirect(self.next_page(request))
        return self.form(request)

    def post(self, request: Any) -> HttpResponse:
        form = LoginForm(request.POST)
        name = request.POST.get("name", "")[:63]
        if not form.is_valid():
            return self.form(request, "Give a name and a password.", status=422, name=name)
        given = form.cleaned_data
        actor = Actor("user", None, given["name"], request.source_ip, request.request_id)
        try:
            user = login.begin_session(name=given["name"], password=given["password"], by=actor)
        except Problem as refusal:
            response = self.form(request, refusal.detail, status=refusal.status, name=name)
            if refusal.status == 429:
                response["Retry-After"] = str(int(login.WINDOW.total_seconds()))
            return response
        request.session.flush()  # a new session: neither another person's nor one whose key someone knows
        request.session[SESSION_KEY] = str(user.id)
        rotate_token(request)
        return HttpResponseRedirect(self.next_page(request))

    @staticmethod
    def form(request: Any, refusal: str = "", status: int = 200, name: str = "") -> HttpResponse:
        found = {"refusal": refusal, "name": name, "next": Login.next_page(request)}
        return answer(request, "console/login.html", found, status=status)

    @staticmethod
    def next_page(request: Any) -> str:
        """The page that was asked for, if it is one of ours."""
        wanted: str = request.POST.get("next") or request.GET.get("next") or HOME
        ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) and wanted.startswith("/")
        return wanted if ours and urlsplit(wanted).path not in ("/login", "/logout") else HOME


class Logout(View):
    """Ends the session. POST alone: a link of someone else's must not log anyone out."""

    http_method_names = ["post"]

    def post(self, request: Any) -> HttpResponse:
        request.session.flush()
        return HttpResponseRedirect("/login")
