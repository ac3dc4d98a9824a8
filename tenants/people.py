"""Users and groups: one verb, one transaction, one event. Someone always stays platform-admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import Q

from facet.operations import events
from facet.rest.access import Actor
from facet.rest.problems import Conflict, Invalid

from . import credentials
from .models import Group, Member, Role, User
from .services import change, create, different


def check_password(password: str, user: User | None = None) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid({"password": error.messages}) from None


def create_user(*, name: str, password: str, email: str = "", by: Actor) -> User:
    user = User(name=name, email=email)
    check_password(password, user)
    user.set_password(password)
    create(user, f"A user named {name} exists.")
    events.record("user.create", by=by, kind="user", id=user.id, name=name)
    return user


def update_user(*, user: User, changes: dict[str, Any], by: Actor) -> User:
    """Change e-mail, password, or disable; the last two end every token and session of theirs.

    The last platform-admin cannot be disabled.
    """
    password = changes.pop("password", None)
    if password is not None:
        check_password(password, user)
        user.set_password(password)
    if changes.get("disabled"):
        keep_an_admin(without_user=user)
    if password is not None or changes.get("disabled"):
        credentials.end_all(user)
    before = {name: getattr(user, name) for name in changes}
    if password is None and not different(user, changes):
        return user
    change(user, changes | ({"password": user.password} if password is not None else {}))
    after = changes | ({"password": "changed"} if password is not None else {})
    events.record("user.update", by=by, kind="user", id=user.id, name=user.name, before=before, after=after)
    return user


def keep_an_admin(*, without_user: User | None = None, without_member: Member | None = None) -> None:
    list(Member.objects.filter(role=Role.PLATFORM_ADMIN).order_by("id").select_for_update(no_key=True))
    left = Member.objects.filter(role=Role.PLATFORM_ADMIN)
    if without_member is not None:
        left = left.exclude(pk=without_member.pk)
    people = User.objects.filter(disabled=False).filter(Q(memberships__in=left) | Q(groups__memberships__in=left))
    if without_user is not None:
        people = people.exclude(pk=without_user.pk)
    if not people.exists():
        raise Conflict("Someone must stay platform-admin.", code="last_admin")


def set_group(*, group: Group | None, name: str | None, users: Sequence[str] | None, by: Actor) -> Group:
    """Make a group, or change its name or its people (names or ids)."""
    if group is None:
        group = Group(name=name or "")
        create(group, f"A group named {name} exists.")
        verb = "group.create"
    else:
        change(group, {"name": name} if name else {}, f"A group named {name} exists.")
        verb = "group.update"
    if users is not None:
        group.users.set([user_named(user, "users") for user in users])
        if Member.objects.filter(group=group, role=Role.PLATFORM_ADMIN).exists():
            keep_an_admin()
    after = {"users": sorted(group.users.values_list("name", flat=True))}
    events.record(verb, by=by, kind="group", id=group.id, name=group.name, after=after)
    return group


def delete_group(*, group: Group, by: Actor) -> None:
    id, name = group.id, group.name
    for member in Member.objects.filter(group=group, role=Role.PLATFORM_ADMIN):
        keep_an_admin(without_member=member)
    group.delete()
    events.record("group.delete", by=by, kind="group", id=id, name=name)


def user_named(text: str, field: str) -> User:
    found = User.objects.filter(name_or_id(text)).first()
    if found is None:
        raise Invalid({field: f"There is no user {text}."})
    return found


def name_or_id(text: str) -> Q:
    try:
        return Q(pk=UUID(text))
    except ValueError:
        return Q(name=text)
