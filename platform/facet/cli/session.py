"""What a command has at hand: the chosen context, the API, the printer; and how a long command ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import typer

from . import config, quantities, resolve, wait
from .client import Client, Document
from .config import Config, Context
from .faults import Usage
from .output import Column, Format, Printer, Row


@dataclass(frozen=True)
class Globals:
    """What was said before the noun."""

    context: str = ""


class Session:
    """One command's run."""

    def __init__(self, ctx: typer.Context, format: Format = Format.TABLE) -> None:
        root = ctx.find_root().obj
        self.named = root.context if isinstance(root, Globals) else ""
        self.printer = Printer(format)

    @cached_property
    def config(self) -> Config:
        return config.read(os.environ)

    @cached_property
    def context(self) -> Context:
        return config.chosen(self.config, os.environ, self.named)

    @cached_property
    def api(self) -> Client:
        return Client(self.context)

    # --- scopes ----------------------------------------------------------------------------------------------------

    def project(self, name: str) -> Document:
        """The project of --project, else the context's. Raises Usage when neither names one."""
        wanted = name or self.context.project
        if not wanted:
            raise Usage(
                "Which project? Say --project tenant/project.", hint="Or keep it: facet context set --project acme/web"
            )
        return resolve.project(self.api, wanted, self.context)

    def tenant(self, name: str) -> Document:
        wanted = name or self.context.tenant
        if not wanted:
            raise Usage("Which tenant? Say --tenant NAME.", hint="Or keep it: facet context set --tenant acme")
        return resolve.tenant(self.api, wanted)

    def scope(self, tenant: str, project: str) -> str:
        """`tenants/{id}` or `projects/{id}`: exactly one must be said."""
        if bool(tenant) == bool(project):
            raise Usage("Say either --tenant NAME or --project tenant/project.")
        if tenant:
            return f"tenants/{resolve.tenant(self.api, tenant)['id']}"
        return f"projects/{resolve.project(self.api, project, self.context)['id']}"

    def in_project(self, noun: str, path: str, name: str, project: str) -> Document:
        """The object of this name in the project, or of this id; `path`: what the API calls such objects."""
        if resolve.is_id(name):
            return self.api.get(f"{path}/{name}")
        owner = self.project(project)
        where = f"{(owner.get('tenant') or {}).get('name')}/{owner['name']}"
        return resolve.one(self.api, noun, name, within=f"projects/{owner['id']}/{path}", where=where)

    # --- ends ------------------------------------------------------------------------------------------------------

    def created(self, row: Row, columns: Sequence[Column], noun: str) -> None:
        """What was made, as a table of one, or the document."""
        if self.printer.for_people:
            self.printer.done(f"{noun} {row.get('name', '')} created")
            self.printer.rows([row], columns, nothing="")
        else:
            self.printer.document(row)

    def finish(
        self,
        answer: Document,
        noun: str,
        *,
        waiting: bool,
        timeout: str,
        path: str = "",
        columns: Sequence[Column] = (),
    ) -> None:
        """The end of what answers 202: wait if asked, then show the object (read anew at `path`) or the receipt."""
        timeout_s = quantities.duration_s(timeout, option="--timeout") if timeout else None
        operation = answer.get("operation")
        if not operation:  # done at once
            self._shown(answer, noun, columns)
            return
        if waiting:
            answer = {**answer, "operation": wait.until_done(self.api, self.printer, operation, timeout_s=timeout_s)}
            if path:
                answer[noun] = self.api.get(f"{path}/{answer[noun]['id']}" if noun in answer else path)
        else:
            self.printer.say(
                f"{wait.label(operation)} is under way. Follow it: facet operation watch {operation['id']}", style="dim"
            )
        self._shown(answer, noun, columns)

    def _shown(self, answer: Document, noun: str, columns: Sequence[Column]) -> None:
        if not self.printer.for_people:
            if answer:
                self.printer.document(answer)
        elif columns and answer.get(noun):
            self.printer.rows([answer[noun]], columns, nothing="")

    def act(
        self,
        verb: str,
        noun: str,
        path: str,
        row: Row,
        body: Document | None = None,
        *,
        waiting: bool,
        timeout: str,
        columns: Sequence[Column],
    ) -> None:
        """Ask for a change of one object by its verb, `POST <path>/<id>/<verb>`, and tell how it ends."""
        answer = self.api.post(f"{path}/{row['id']}/{verb}", body)
        self.finish(answer, noun, waiting=waiting, timeout=timeout, path=path, columns=columns)

    def delete(
        self, noun: str, path: str, row: Row, *, beside: str = "", yes: bool, waiting: bool, timeout: str
    ) -> None:
        """Ask, delete, and tell how it ends. `beside`: what goes with it, for the question."""
        kind = noun.upper() if noun == "vm" else noun
        self.confirm(f"Delete {kind} {row['name']}{beside}?", yes=yes)
        answer = self.api.delete(f"{path}/{row['id']}")
        self.finish(answer, noun, waiting=waiting, timeout=timeout)
        if waiting or not answer:
            self.printer.done(f"{noun} {row['name']} deleted")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only with --yes or a person's yes. Raises Usage when there is nobody to ask."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise Usage(f"{question} There is nobody to ask: say --yes.")
        if not typer.confirm(question, err=True):
            raise Usage("Nothing was done.")

    def password(self, *, from_stdin: bool, label: str, twice: bool = False) -> str:
        """From the first line of stdin, or a prompt without echo. Never an option: options stand in process lists."""
        if from_stdin:
            found = sys.stdin.readline().rstrip("\r\n")
            if not found:
                raise Usage("--password-stdin: there is nothing on stdin.")
            return found
        if not sys.stdin.isatty():
            raise Usage("There is nobody to ask for a password: say --password-stdin.")
        prompted: Any = typer.prompt(label, hide_input=True, confirmation_prompt=twice, err=True)
        return str(prompted)
