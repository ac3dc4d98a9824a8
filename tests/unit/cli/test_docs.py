from __future__ import annotations

import subprocess
import sys
import typing

import typer.main

from facet.cli import document
from facet.cli.main import app

from .conftest import ROOT


def test_the_cli_page_is_current() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == document.page()


def test_every_command_has_help_and_an_example() -> None:
    bare = [
        path for path, command in leaves(typer.main.get_command(app), "facet") if not command.help or not command.epilog
    ]

    assert bare == []


def test_the_command_line_loads_no_other_room() -> None:
    code = (
        "import sys; import facet.cli.main;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'django', 'rest_framework', 'celery', 'numpy',"
        " 'tenants', 'infra', 'scheduler', 'cryptography'}),"
        " [name for name in sys.modules if name.startswith('facet.') and not name.startswith('facet.cli')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "platform")},
        check=True,
    )

    assert ran.stdout == "[] []\n"


def leaves(command: typing.Any, path: str) -> typing.Iterator[tuple[str, typing.Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
    for name, child in (children or {}).items():
        yield from leaves(child, f"{path} {name}")
