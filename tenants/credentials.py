"""From a token or a session to a Caller, before any context exists: by SECURITY DEFINER functions, and nothing else."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from facet.rest.access import Actor
from facet.rest.problems import Invalid

from .access import Caller, Grant
from .models import Role, ServiceAccount, Token, User

PREFIX = "facet_"
DEFAULT_LIFE = timedelta(days=30)
LONGEST_LIFE = timedelta(days=366)
LOGIN_LIFE = timedelta(hours=24)


def issue(
    *,
    user: User | None = None,
    service_account: ServiceAccount | None = None,
    name: str = "",
    life: timedelta = DEFAULT_LIFE,
) -> tuple[Token, str]:
    """A new token and its text, which is nowhere kept. Raises Invalid for a life beyond a year."""
    if not timedelta(0) < life <= LONGEST_LIFE:
        raise Invalid({"expires_in_s": f"More than 0 and at most {int(LONGEST_LIFE.total_seconds())} seconds."})
    text = PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        user=user,
        service_account=service_account,
        tenant_id=service_account.tenant_id if service_account else None,
        name=name,
        sha256=digest(text),
        expires_at=timezone.now() + life,
    )
    return token, text


def end_all(user: User) -> None:
    """End every token and every session of a user."""
    Token.objects.filter(user=user).delete()
    for session in Session.objects.filter(expire_date__gt=timezone.now()):
        if session.get_decoded().get(SESSION_KEY) == str(user.id):
            session.delete()


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def by_token(text: str, *, source_ip: str | None, request_id: str) -> Caller | None:
    """The caller whose living token this is, or None."""
    return _caller("select * from facet_who(%s)", [digest(text)], source_ip, request_id)


def by_session(user_id: UUID, *, source_ip: str | None, request_id: str) -> Caller | None:
    """The caller behind a console session, or None when the user is disabled or gone."""
    return _caller("select * from facet_user(%s)", [user_id], source_ip, request_id, by_session=True)


def _caller(
    sql: str, values: list[Any], source_ip: str | None, request_id: str, *, by_session: bool = False
) -> Caller | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    if row is None:
        return None
    kind, id, name, token_id, grants = row
    return Caller(
        actor=Actor(kind=kind, id=id, name=name, source_ip=source_ip, request_id=request_id),
        grants=tuple(Grant(Role(role), _uuid(tenant), _uuid(project)) for role, tenant, project in json.loads(grants)),
        token_id=token_id,
        by_session=by_session,
    )


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
