"""Who may do what where: members, service accounts, tokens. One verb, one transaction, one event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from facet.operations import events
from facet.rest.access import Actor
from facet.rest.problems import Conflict, Invalid

from . import credentials
from .models import PLATFORM_ROLES, PROJECT_ROLES, Group, Member, Project, Role, ServiceAccount, Tenant, Token, User
from .people import keep_an_admin, name_or_id, user_named
from .services import create, hold


def add_member(
    *,
    tenant: Tenant | None,
    project: Project | None,
    role: str,
    user: str | None,
    group: str | None,
    service_account: str | None,
    by: Actor,
) -> Member:
    """Give one principal (named by exact name or id) a role at a project, a tenant, or the platform."""
    allowed = PROJECT_ROLES if project else {Role.TENANT_ADMIN} if tenant else PLATFORM_ROLES
    if role not in allowed:
        raise Invalid({"role": f"Here: {', '.join(sorted(r.value for r in allowed))}."})
    if [bool(user), bool(group), bool(service_account)].count(True) != 1:
        raise Invalid({"user": "Exactly one of user, group, service_account."})
    place = project or tenant
    if place is not None:
        hold(place)
    member = Member(tenant=tenant, project=project, role=role)
    if user:
        member.user = user_named(user, "user")
    elif group:
        member.group = Group.objects.filter(name_or_id(group)).first()
        if member.group is None:
            raise Invalid({"group": f"There is no group {group}."})
    elif service_account:
        accounts = ServiceAccount.objects.filter(name_or_id(service_account), tenant=tenant)
        member.service_account = accounts.filter(project=project).first() if project else None
        if member.service_account is None:
            raise Invalid({"service_account": f"The project has no service account {service_account}."})
    try:
        with transaction.atomic():
            member.save(force_insert=True)
    except IntegrityError:
        raise Conflict("This role is held there already.", code="name_taken") from None
    _member_event("member.add", member, by)
    return member


def remove_member(*, member: Member, by: Actor) -> None:
    if member.role == Role.PLATFORM_ADMIN:
        keep_an_admin(without_member=member)
    _member_event("member.remove", member, by)
    member.delete()


def principal(member: Member) -> tuple[str, Any]:
    """(kind, row) of who holds the role."""
    if member.user:
        return "user", member.user
    if member.group:
        return "group", member.group
    return "service-account", member.service_account


def _member_event(verb: str, member: Member, by: Actor) -> None:
    kind, who = principal(member)
    events.record(
        verb,
        by=by,
        kind=kind,
        id=who.id,
        name=who.name,
        tenant_id=member.tenant_id,
        project_id=member.project_id,
        after={"role": member.role},
    )


def create_service_account(*, project: Project, name: str, role: str, by: Actor) -> ServiceAccount:
    hold(project)
    account = ServiceAccount(tenant_id=project.tenant_id, project=project, name=name)
    create(account, f"{project.name} has a service account named {name}.")
    _account_event("service-account.create", account, by, after={"role": role})
    add_member(
        tenant=project.tenant, project=project, role=role, user=None, group=None, service_account=str(account.id), by=by
    )
    return account


def delete_service_account(*, account: ServiceAccount, by: Actor) -> None:
    _account_event("service-account.delete", account, by)
    account.delete()


def _account_event(verb: str, account: ServiceAccount, by: Actor, **more: Any) -> None:
    events.record(
        verb,
        by=by,
        kind="service-account",
        id=account.id,
        name=account.name,
        tenant_id=account.tenant_id,
        project_id=account.project_id,
        **more,
    )


def issue_token(
    *, user: User | None = None, account: ServiceAccount | None = None, name: str, life_s: int | None, by: Actor
) -> tuple[Token, str]:
    life = timedelta(seconds=life_s) if life_s is not None else credentials.DEFAULT_LIFE
    if account is not None:
        hold(account.project)
    token, text = credentials.issue(user=user, service_account=account, name=name, life=life)
    _token_event("token.create", token, by, expires_at=token.expires_at.isoformat())
    return token, text


def end_token(*, token: Token, by: Actor) -> None:
    _token_event("token.delete", token, by)
    token.delete()


def _token_event(verb: str, token: Token, by: Actor, **more: str) -> None:
    account = token.service_account
    owner: Any = account or token.user
    events.record(
        verb,
        by=by,
        kind="service-account" if account else "user",
        id=owner.id,
        name=owner.name,
        tenant_id=account.tenant_id if account else None,
        project_id=account.project_id if account else None,
        after={"token": str(token.id), "name": token.name, **more},
    )
