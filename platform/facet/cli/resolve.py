"""Names to objects: `acme`, `acme/web`, `acme/web/ci`, or an id wherever a name may stand."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from .client import Client, Document
from .config import Context
from .faults import NotFound, Usage


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def one(api: Client, noun: str, name: str, *, within: str = "", single: str = "", where: str = "") -> Document:
    """The object of this name or id. `within`: the list to search (default `{noun}s`); `single`: the path of one.

    Raises NotFound; Usage when several have the name, which asks for an id.
    """
    plural = f"{noun}s"
    if is_id(name):
        return api.get(f"{single or plural}/{name}")
    found = list(api.items(within or plural, name=name))
    found = [row for row in found if row.get("name") == name]
    if not found:
        raise NotFound(
            f"There is no {noun.replace('-', ' ')} {name}{f' in {where}' if where else ''}, or it is not yours."
        )
    return _only(found, noun, name)


def tenant(api: Client, name: str) -> Document:
    return one(api, "tenant", name)


def project(api: Client, name: str, context: Context) -> Document:
    """`acme/web`; `web` alone where the context or the caller's rights leave only one."""
    if is_id(name):
        return api.get(f"projects/{name}")
    owner, _, own = name.rpartition("/")
    if not own or "/" in owner or name.startswith("/"):
        raise Usage(f"{name!r} is no project: write tenant/project, as in acme/web.")
    owner = owner or context.tenant
    rows = [row for row in api.items("projects", name=own) if row.get("name") == own]
    rows = [row for row in rows if not owner or (row.get("tenant") or {}).get("name") == owner]
    if not rows:
        raise NotFound(f"There is no project {f'{owner}/' if owner else ''}{own}, or it is not yours.")
    return _only(rows, "project", name, lambda row: f"{(row.get('tenant') or {}).get('name')}/{row['name']}")


def service_account(api: Client, name: str, context: Context) -> Document:
    """`acme/web/ci`."""
    if is_id(name):
        return api.get(f"service-accounts/{name}")
    of, slash, own = name.rpartition("/")
    if not slash or not own:
        raise Usage(f"{name!r} is no service account: write tenant/project/name, as in acme/web/ci.")
    owner = project(api, of, context)
    return one(api, "service-account", own, within=f"projects/{owner['id']}/service-accounts", where=of)


def _only(rows: list[Document], noun: str, name: str, show: Callable[[Document], str] | None = None) -> Document:
    if len(rows) > 1:
        names = ", ".join(sorted(show(row) if show else str(row["id"]) for row in rows))
        raise Usage(f"Several {noun}s are called {name}: {names}. Say which.")
    return rows[0]
