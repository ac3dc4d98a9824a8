"""Our key where a thing at a site has a description, and no place of its own for one."""

from __future__ import annotations

from uuid import UUID

PREFIX = "facet:"


def described(key: UUID) -> str:
    return f"{PREFIX}{key}"


def key_in(description: str) -> UUID | None:
    """The key that a description holds; None where it is somebody else's."""
    text = description.strip()
    if not text.startswith(PREFIX):
        return None
    try:
        return UUID(text.removeprefix(PREFIX))
    except ValueError:
        return None
