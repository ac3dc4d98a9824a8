"""docs/vsphere.md names the privileges that the driver checks: printed from its table, none more and none less."""

from __future__ import annotations

from pathlib import Path

from infra.drivers.vsphere.privileges import LAYERS, ROOT

PAGE = Path(__file__).resolve().parents[3] / "docs" / "vsphere.md"
HEAD = "| layer | privilege | for |\n|---|---|---|\n"


def printed() -> str:
    """The table of the page.."""
    rows = [
        f"| {layer} | `{name}`{' (of the vCenter itself)' if name in ROOT else ''} | {why} |\n"
        for layer, names in LAYERS.items()
        for name, why in sorted(names.items())
    ]
    return HEAD + "".join(rows)


def kept(text: str) -> str:
    """The page's table."""
    table = text[text.index(HEAD) :]
    return table[: table.index("\n\n") + 1]


def test_the_page_names_exactly_the_privileges_that_are_checked() -> None:
    assert kept(PAGE.read_text()) == printed()


def test_no_privilege_stands_in_two_layers() -> None:
    names = [name for layer in LAYERS.values() for name in layer]
    assert len(names) == len(set(names))
