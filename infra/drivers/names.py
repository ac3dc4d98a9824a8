"""How folders and pools are named at a site."""

from __future__ import annotations

from uuid import UUID


def place_name(name: str, key: UUID) -> str:
    """`name (id suffix)`: two owners may choose one name, and whoever reads the tree knows which is whose."""
    return f"{name} ({key.hex[-12:]})"
