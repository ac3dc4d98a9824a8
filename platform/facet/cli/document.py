"""docs/cli.md, made from the help texts: `python -m facet.cli.document > docs/cli.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

import typer.main

from .faults import EXIT_SENTENCES
from .main import app
from .quantities import RESOURCES

HEAD = """# The command line

Made from the help texts by `python -m facet.cli.document > docs/cli.md`; a test compares them. Data goes to stdout, all
else to stderr. There is no colour in a pipe or with `NO_COLOR`. Names may be ids. `-o json` and `-o yaml` print the
API's own documents, lists as `{"items": [...]}`.

Contexts are kept in `$XDG_CONFIG_HOME/facet/config.yaml` (else `~/.config`), mode 0600. `FACET_URL`, `FACET_TOKEN` and
`FACET_CA_FILE` win over the current context; `--context NAME` before the noun wins over them. A context's token is sent
to its own server alone. Passwords come from a prompt or `--password-stdin`, never from an option.

While a command waits, Ctrl-C detaches: it prints the operation's id and the work goes on.
"""


def page() -> str:
    """The whole page."""
    root = typer.main.get_command(app)
    parts = [HEAD, _exits(), _resources()]
    parts += [_command(path, command) for path, command in _commands(root, "facet")]
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, f"{path} {name}")


def _exits() -> str:
    rows = "".join(f"| {int(code)} | {sentence} |\n" for code, sentence in EXIT_SENTENCES.items())
    return f"## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}"


def _resources() -> str:
    rows = "".join(f"| `{name}` | `{found.key}` | {found.unit or 'count'} |\n" for name, found in RESOURCES.items())
    text = "As in `vcpu=64,memory=256GiB`; units are KiB, MiB, GiB, TiB and PiB; quotas also take `unlimited`."
    return f"## Resources\n\n{text}\n\n| here | in the API | counted in |\n|---|---|---|\n{rows}"


def _command(path: str, command: Any) -> str:
    level = "##" if hasattr(command, "commands") else "###"
    lines = [f"{level} {path}", "", (command.help or "").strip(), ""]
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
    for param in arguments:
        lines.append(f"- `{(param.metavar or param.name).upper()}`: {param.help}")
    for param in options:
        if "completion" not in str(param.name):
            lines.append(f"- {_option(param)}")
    if arguments or options:
        lines.append("")
    if examples := _examples(command.epilog or ""):
        lines += ["```", *examples, "```", ""]
    return "\n".join(lines)


def _option(param: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    choices = _choices(param.type_descriptor.annotation)
    value = f" `{choices or param.metavar}`" if choices or param.metavar else ""
    return f"{names}{value}: {param.help}{' Required.' if param.required else ''}"


def _choices(annotation: Any) -> str:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return "|".join(str(member.value) for member in kind)
    return ""


def _examples(epilog: str) -> list[str]:
    lines = [line.strip().replace("\\[", "[") for line in epilog.splitlines()]
    return [line for line in lines if line and not re.fullmatch(r"\[bold\].*", line)]


if __name__ == "__main__":
    sys.stdout.write(page())
