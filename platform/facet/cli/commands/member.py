"""Members: who has which role where."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..faults import NotFound, Usage
from ..options import Output, ProjectScope, TenantScope, Yes, examples, noun
from ..output import Column, Format
from ..session import Session

app = noun("Members: who has which role, at a tenant, a project or the platform.")
COLUMNS = [
    Column("name", "principal.name"),
    Column("kind", "principal.kind"),
    Column("role", "role"),
    Column("id", "id"),
]


class Kind(StrEnum):
    USER = "user"
    GROUP = "group"
    SERVICE_ACCOUNT = "service-account"


class Role(StrEnum):
    PLATFORM_ADMIN = "platform-admin"
    AUDITOR = "auditor"
    TENANT_ADMIN = "tenant-admin"
    PROJECT_EDITOR = "project-editor"
    PROJECT_VIEWER = "project-viewer"


Who = Annotated[str, typer.Argument(metavar="NAME", help="The user, group or service account.", show_default=False)]
Platform = Annotated[bool, typer.Option("--platform", help="At the platform itself.")]
KindOption = Annotated[Kind, typer.Option("--kind", help="What NAME is.")]


@app.command(
    epilog=examples(
        "facet member add ada --tenant acme --role tenant-admin",
        "facet member add devs --kind group --project acme/web --role project-editor",
        "facet member add grace --platform --role auditor",
    )
)
def add(
    ctx: typer.Context,
    name: Who,
    role: Annotated[Role, typer.Option("--role", help="What they may do.", show_default=False)],
    tenant: TenantScope = "",
    project: ProjectScope = "",
    platform: Platform = False,
    kind: KindOption = Kind.USER,
    output: Output = Format.TABLE,
) -> None:
    """Give a role."""
    session = Session(ctx, output)
    path = _path(session, tenant, project, platform)
    member = session.api.post(path, {kind.value.replace("-", "_"): name, "role": role.value})
    if session.printer.for_people:
        session.printer.done(f"{name} is {role.value} of {tenant or project or 'the platform'}")
    else:
        session.printer.document(member)


@app.command("list", epilog=examples("facet member list --tenant acme", "facet member list --platform"))
def list_(
    ctx: typer.Context,
    tenant: TenantScope = "",
    project: ProjectScope = "",
    platform: Platform = False,
    output: Output = Format.TABLE,
) -> None:
    """Who has a role there."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items(_path(session, tenant, project, platform)), COLUMNS, nothing="No members.")


@app.command(epilog=examples("facet member remove ada --tenant acme --yes"))
def remove(
    ctx: typer.Context,
    name: Who,
    tenant: TenantScope = "",
    project: ProjectScope = "",
    platform: Platform = False,
    kind: KindOption = Kind.USER,
    role: Annotated[Role | None, typer.Option("--role", help="This role alone.", show_default=False)] = None,
    yes: Yes = False,
) -> None:
    """Take a role away; all roles there unless --role says which."""
    session = Session(ctx)
    where = tenant or project or "the platform"
    wanted = [
        member
        for member in session.api.items(_path(session, tenant, project, platform))
        if _is(member, name, kind) and (role is None or member["role"] == role.value)
    ]
    if not wanted:
        raise NotFound(f"{name} has no {f'role {role.value}' if role else 'role'} at {where}.")
    roles = ", ".join(sorted(member["role"] for member in wanted))
    session.confirm(f"Take {roles} of {where} from {name}?", yes=yes)
    for member in wanted:
        session.api.delete(f"members/{member['id']}")
    session.printer.done(f"{name} is no longer {roles} of {where}")


def _is(member: dict[str, object], name: str, kind: Kind) -> bool:
    who = member.get("principal")
    if not isinstance(who, dict):
        return False
    return name in (who.get("name"), who.get("id")) and str(who.get("kind")).replace("_", "-") == kind.value


def _path(session: Session, tenant: str, project: str, platform: bool) -> str:
    if platform:
        if tenant or project:
            raise Usage("Say one of --tenant, --project and --platform.")
        return "platform/members"
    if not tenant and not project:
        raise Usage("Where? Say one of --tenant, --project and --platform.")
    return f"{session.scope(tenant, project)}/members"
