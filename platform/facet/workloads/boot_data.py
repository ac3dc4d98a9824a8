"""What a team has its guest do at the first boot: cloud-config of its own, and keys that its guest lets in.

It may hold secrets: it is sealed until the guest has read it, then forgotten here and wiped at the site. No sentence of
this module repeats any of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import yaml
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from facet.rest import secrets
from infra.drivers.extraconfig import LARGEST_VALUE, USERDATA, packed

from .models import VM

HEADER = "#cloud-config"
NOTHING = f"{HEADER}\n{{}}\n"
KEYS = "ssh_authorized_keys"
LARGEST_BYTES = 48 * 1024
MOST_KEYS = 32
KEY_KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
HARDWARE_KINDS = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
# what PyYAML's constructors raise for a value that is not of its tag, and for what is nested too deeply
BAD_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


class Bad(ValueError):
    """What is wrong, in a sentence that repeats none of it."""


class _Loader(yaml.SafeLoader):
    """In Python, whose depth is bounded; without merge keys, by which a few lines unfold to gigabytes."""

    def flatten_mapping(self, node: Any) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise Bad("Merge keys (<<) are not taken.")


def _parsed(text: str) -> dict[str, Any]:
    """Raises Bad for what is no cloud-config, or a too large one."""
    if len(text.encode()) > LARGEST_BYTES:
        raise Bad(f"At most {LARGEST_BYTES // 1024} KiB.")
    if text.split("\n", 1)[0].strip() != HEADER:
        raise Bad(f"Its first line is {HEADER}.")
    try:
        found = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader
    except Bad:
        raise
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark is not None else ""
        raise Bad(f"It is not valid YAML{where}.") from None
    except BAD_YAML:
        raise Bad("It is not valid YAML.") from None
    if not isinstance(found, dict):
        raise Bad(f"What follows {HEADER} is a mapping of YAML.")
    keys = found.get(KEYS, [])
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Bad(f"{KEYS} is a list of keys.")
    return found


def checked_key(line: str) -> str:
    """A public key of OpenSSH, in one line. Raises Bad."""
    line = line.strip()
    if not line.isprintable():
        raise Bad("A public key is one line.")
    kind, _, rest = line.partition(" ")
    if kind not in KEY_KINDS + HARDWARE_KINDS:
        raise Bad(f"A public key begins with its kind: {', '.join(KEY_KINDS + HARDWARE_KINDS)}.")
    body = rest.split(" ", 1)[0]
    try:
        raw = base64.b64decode(body, validate=True)
        named = raw[4 : 4 + int.from_bytes(raw[:4], "big")].decode()
        if named != kind:
            raise ValueError("it says another kind inside")
        if kind in KEY_KINDS:
            load_ssh_public_key(f"{kind} {body}".encode())
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise Bad("This is not a public key of OpenSSH.") from None
    return line


def rendered(text: str, keys: Sequence[str]) -> str:
    """Boot data of both; "" where nothing was said. Raises Bad where a guest could not be given it."""
    if not text and not keys:
        return ""
    found = _parsed(text) if text else {}
    if keys:
        found[KEYS] = list(dict.fromkeys([*found.get(KEYS, []), *keys]))
        text = f"{HEADER}\n{_dumped(found)}"
    if len(packed(USERDATA, text)[USERDATA]) > LARGEST_VALUE:
        raise Bad("With its keys it is larger than a guest can be given (64 KiB, packed).")
    return text


def _dumped(config: dict[str, Any]) -> str:
    try:
        return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=4096)
    except RecursionError:
        raise Bad("It is nested too deeply.") from None


def sealed(vm_id: UUID, text: str) -> bytes | None:
    return secrets.seal(text.encode(), owner=_owner(vm_id)) if text else None


def of(vm: VM) -> str:
    """The boot data of a VM that has not read it yet."""
    if vm.user_data_sealed is None:
        return NOTHING
    return secrets.unseal(bytes(vm.user_data_sealed), owner=_owner(vm.id)).decode()


def _owner(vm_id: UUID) -> str:
    return f"vm:{vm_id}"
