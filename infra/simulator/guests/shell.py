"""runcmd's fixed vocabulary. Anything else is `command not found`, 127, as a shell would say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable
from typing import Protocol

KUBECONFIG = "/etc/kubernetes/admin.conf"


class Guest(Protocol):
    """What a command may touch."""

    def read(self, path: str) -> bytes | None: ...

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None: ...

    def log(self, line: str) -> None: ...

    async def kubeadm(self, verb: str, config: str) -> Callable[[], int]:
        """Wait for what must be waited for; the answer does the rest, at once."""

    def kubectl_apply(self, kubeconfig: str, manifest: bytes) -> int: ...


Act = Callable[[], int]  # what a command does, at once; its exit status


def chain(item: str | list[str]) -> list[list[str]]:
    """One runcmd item as commands joined by `&&`. Raises ValueError for quotes that do not close."""
    if isinstance(item, list):
        return [item]
    lexer = shlex.shlex(item, posix=True, punctuation_chars="&|;<>()")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


async def prepare(guest: Guest, words: list[str]) -> Act:
    """The command, waited for as long as it must wait, as something that is then done at once."""
    name, arguments = (words[0], words[1:]) if words else ("", [])
    command = COMMANDS.get(name)
    if command is None or any(set(word) <= set("&|;<>()") for word in words):
        return lambda: _complain(guest, f"{name or 'sh'}: command not found", 127)
    return await command(guest, arguments)


def _complain(guest: Guest, line: str, status: int) -> int:
    guest.log(line)
    return status


async def _kubeadm(guest: Guest, arguments: list[str]) -> Act:
    words = [word for word in arguments if not re.fullmatch(r"-v=?\d*|--v=\d+", word)]
    if len(words) == 2 and words[1].startswith("--config="):
        words[1:] = ["--config", words[1].removeprefix("--config=")]
    if len(words) != 3 or words[0] not in ("init", "join") or words[1] != "--config":
        return lambda: _complain(guest, f"kubeadm: the simulated one takes init|join --config FILE, not {words}", 1)
    return await guest.kubeadm(words[0], words[2])


async def _kubectl(guest: Guest, arguments: list[str]) -> Act:
    words, kubeconfig = list(arguments), KUBECONFIG
    for at, word in enumerate(words):
        if word == "--kubeconfig" and at + 1 < len(words):
            kubeconfig = words[at + 1]
            del words[at : at + 2]
            break
        if word.startswith("--kubeconfig="):
            kubeconfig = word.partition("=")[2]
            del words[at]
            break
    if len(words) != 3 or words[:2] != ["apply", "-f"]:
        return lambda: _complain(guest, f"kubectl: the simulated guest has only apply -f FILE, not {words}", 1)

    def apply() -> int:
        manifest = guest.read(words[2])
        if manifest is None:
            return _complain(guest, f'error: the path "{words[2]}" does not exist', 1)
        return guest.kubectl_apply(kubeconfig, manifest)

    return apply


async def _sed(guest: Guest, arguments: list[str]) -> Act:
    """sed -i 's#from#to#[g]' FILE, with any delimiter and basic regular expressions without groups."""
    words = [word for word in arguments if word not in ("-i", "-e")]
    if "-i" not in arguments or len(words) != 2 or not words[0].startswith("s") or len(words[0]) < 4:
        return lambda: _complain(guest, f"sed: the simulated one takes -i s#from#to# FILE, not {arguments}", 1)
    script, path = words
    parts = script[2:].split(script[1])
    if len(parts) != 3 or parts[2] not in ("", "g"):
        return lambda: _complain(guest, f"sed: -e expression #1: unterminated `s' command: {script}", 1)

    def substitute() -> int:
        content = guest.read(path)
        if content is None:
            return _complain(guest, f"sed: can't read {path}: No such file or directory", 2)
        count = 0 if parts[2] == "g" else 1
        lines = [re.sub(parts[0], parts[1], line, count=count) for line in content.decode().split("\n")]
        guest.write(path, "\n".join(lines).encode(), 0o600)
        return 0

    return substitute


async def _mkdir(guest: Guest, arguments: list[str]) -> Act:
    return lambda: 0  # a directory is there once a file is in it


async def _touch(guest: Guest, arguments: list[str]) -> Act:
    def touch() -> int:
        for path in arguments:
            if guest.read(path) is None:
                guest.write(path, b"")
        return 0

    return touch


COMMANDS: dict[str, Callable[[Guest, list[str]], Awaitable[Act]]] = {
    "kubeadm": _kubeadm, "kubectl": _kubectl, "sed": _sed, "mkdir": _mkdir, "touch": _touch,
}  # fmt: skip
