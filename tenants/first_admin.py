"""The first admin of an installation: made by whoever holds a link that `facet-manage init` printed, once.

The link is signed with the server's own key and lives an hour; it is worth nothing once there is a platform-admin.
"""

from __future__ import annotations

from datetime import timedelta

from django.core.signing import BadSignature, TimestampSigner
from django.db import connection

from facet.rest.access import SYSTEM, Actor
from facet.rest.problems import Conflict, Forbidden

from . import isolation, members, people
from .models import Member, Role, User

LIFE = timedelta(hours=1)
_LOCK = 7_303_002  # advisory: one at a time makes the first one
_SUBJECT = "first-admin"


def exists() -> bool:
    """Whether there is a platform-admin. Call it in the system context."""
    return Member.objects.filter(role=Role.PLATFORM_ADMIN).exists()


def invitation() -> str:
    """The secret part of the link."""
    return TimestampSigner(salt=_SUBJECT).sign(_SUBJECT)


def check(token: str) -> None:
    """Raises Forbidden for what `invitation` did not give out within the hour, Conflict once there is an admin."""
    try:
        TimestampSigner(salt=_SUBJECT).unsign(token, max_age=LIFE)
    except BadSignature:
        raise Forbidden("This link is not valid, or not any more. `facet-manage init` prints another.") from None
    with isolation.context(isolation.SYSTEM):
        if exists():
            raise Conflict("There is an admin already: log in.", code="already_ended")


def make(*, token: str, name: str, password: str, by: Actor = SYSTEM) -> User:
    """The first platform-admin. Raises as `check`, and Invalid for a name or password that will not do."""
    check(token)
    with isolation.context(isolation.SYSTEM):
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        if exists():
            raise Conflict("There is an admin already: log in.", code="already_ended")
        user = people.create_user(name=name, password=password, by=by)
        members.add_member(
            tenant=None,
            project=None,
            role=Role.PLATFORM_ADMIN,
            user=str(user.id),
            group=None,
            service_account=None,
            by=by,
        )
    return user
