"""Name and password for a user. Failures are counted in the database, so that no flush of Redis forgets them."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from facet.operations import events
from facet.rest.access import Actor
from facet.rest.problems import Problem

from . import credentials, isolation
from .models import LoginFailure, Token, User

WINDOW = timedelta(minutes=5)
MOST_PER_NAME = 10  # from one address
MOST_PER_ADDRESS = 50


class TooMany(Problem):
    status = 429
    code = "throttled"
    wait = WINDOW.total_seconds()


class WrongPassword(Problem):
    status = 401
    code = "wrong_password"


def authenticate(*, name: str, password: str, by: Actor) -> User:
    """The user of this name and password. Raises WrongPassword (one sentence for all causes) or TooMany."""
    with isolation.context(isolation.SYSTEM):
        recent = LoginFailure.objects.filter(source_ip=by.source_ip, at__gt=timezone.now() - WINDOW)
        if recent.count() >= MOST_PER_ADDRESS or recent.filter(name=name).count() >= MOST_PER_NAME:
            raise TooMany("Too many failed logins. Wait some minutes.")
        user = User.objects.filter(name=name).first()
    if user is None:
        make_password(password)  # an unknown name takes as long as a wrong password
        right = False
    else:
        right = user.check_password(password) and not user.disabled
    if not right or user is None:
        with isolation.context(isolation.SYSTEM):
            LoginFailure.objects.create(name=name, source_ip=by.source_ip)
        raise WrongPassword("The name or the password is wrong.")
    return user


def log_in(*, name: str, password: str, by: Actor) -> tuple[User, Token, str]:
    """A token for name and password, living a day."""
    user = authenticate(name=name, password=password, by=by)
    with isolation.context(isolation.SYSTEM):
        _record(user, by)
        token, text = credentials.issue(user=user, name="login", life=credentials.LOGIN_LIFE)
    return user, token, text


def begin_session(*, name: str, password: str, by: Actor) -> User:
    """The user for whom the console begins a session."""
    user = authenticate(name=name, password=password, by=by)
    with isolation.context(isolation.SYSTEM):
        _record(user, by)
    return user


def _record(user: User, by: Actor) -> None:
    """Who logged in, when and from where; old failures go."""
    LoginFailure.objects.filter(at__lt=timezone.now() - WINDOW).delete()
    User.objects.filter(pk=user.pk).update(last_login=timezone.now())
    who = Actor("user", user.id, user.name, by.source_ip, by.request_id)
    events.record("login", by=who, kind="user", id=user.id, name=user.name)
