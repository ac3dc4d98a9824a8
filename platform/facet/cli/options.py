"""Options and arguments that many commands share, and how examples are written."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import Format

Output = Annotated[Format, typer.Option("--output", "-o", help="How to print.", show_default=True)]
Name = Annotated[str, typer.Argument(help="Its name.", show_default=False)]
NameOrId = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.", show_default=False)]
Project = Annotated[
    str,
    typer.Option(
        "--project", metavar="TENANT/PROJECT", help="The project; the context's by default.", show_default=False
    ),
]
Tenant = Annotated[
    str, typer.Option("--tenant", metavar="NAME", help="The tenant; the context's by default.", show_default=False)
]
TenantScope = Annotated[str, typer.Option("--tenant", metavar="NAME", help="At this tenant.", show_default=False)]
ProjectScope = Annotated[
    str, typer.Option("--project", metavar="TENANT/PROJECT", help="At this project.", show_default=False)
]
Site = Annotated[str, typer.Option("--site", metavar="NAME", help="The site.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, showing the steps.")]
Timeout = Annotated[
    str,
    typer.Option("--timeout", metavar="TIME", help="Give up waiting after this (90s, 10m, 1h).", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin instead of asking.")
]
Quota = Annotated[
    str,
    typer.Option(
        "--quota",
        metavar="LIMITS",
        help="As in vcpu=64,memory=256GiB,storage=2TiB,vms=50; or unlimited.",
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")]


def noun(help: str) -> typer.Typer:
    """The commands of one noun."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode="rich")


def examples(*lines: str) -> str:
    """An epilog that shows how it is done. Square brackets are not markup here."""
    shown = "\n\n".join(f"  {line}".replace("[", "\\[") for line in lines)
    return f"[bold]Examples[/bold]\n\n{shown}"
