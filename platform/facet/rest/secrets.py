"""Encryption at rest with a ring of keys: AES-256-GCM, the key's id in front, the owner bound as associated data.

A sealed value is `<key id>:` followed by 12 bytes of nonce and the ciphertext. The ring is a JSON file
`{"current": "<id>", "keys": {"<id>": "<base64 of 32 bytes>"}}` named by FACET_KEYS_FILE: new values are sealed with the
current key, older keys only open.
"""

from __future__ import annotations

import base64
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

NONCE_BYTES = 12


class CannotOpen(Exception):
    """A sealed value that no key of the ring opens, or that belongs to another owner."""


@dataclass(frozen=True)
class Ring:
    """The keys that open, and the one that seals."""

    current: str
    keys: dict[str, bytes]

    @classmethod
    def read(cls, path: Path) -> Ring:
        found = json.loads(path.read_text())
        keys = {name: base64.b64decode(value) for name, value in found["keys"].items()}
        if found["current"] not in keys or any(len(key) != 32 for key in keys.values()):
            raise ValueError(f"{path} is not a ring of 32-byte keys with a current one")
        return cls(found["current"], keys)

    @staticmethod
    def make(path: Path) -> None:
        """Write a ring of one new key, readable by its owner alone. Refuses to replace one."""
        text = json.dumps({"current": "k1", "keys": {"k1": base64.b64encode(os.urandom(32)).decode()}})
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    @classmethod
    def add(cls, path: Path) -> str:
        """Put a new key into the ring and make it current; the older ones still open. Its name. Raises OSError."""
        found = json.loads(path.read_text())
        number = 1 + max((int(name[1:]) for name in found["keys"] if name[1:].isdigit()), default=0)
        name = f"k{number}"
        found["keys"][name] = base64.b64encode(os.urandom(32)).decode()
        found["current"] = name
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(found))
        draft.replace(path)
        return name

    def knows(self, sealed: bytes) -> bool:
        return bytes(sealed).partition(b":")[0].decode(errors="replace") in self.keys

    def seal(self, value: bytes, owner: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(self.keys[self.current]).encrypt(nonce, value, owner.encode())
        return self.current.encode() + b":" + nonce + sealed

    def open(self, sealed: bytes, owner: str) -> bytes:
        name, _, rest = bytes(sealed).partition(b":")
        key = self.keys.get(name.decode(errors="replace"))
        if key is None:
            raise CannotOpen(f"no key {name!r} in the ring")
        try:
            return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError):  # another key or owner; too short to hold a nonce
            raise CannotOpen(f"sealed for another owner than {owner}, or damaged") from None


@functools.cache
def _ring(path: str) -> Ring:
    return Ring.read(Path(path))


def forget_ring() -> None:
    """Read the ring anew at the next use."""
    _ring.cache_clear()


def seal(value: bytes, *, owner: str) -> bytes:
    """Encrypt `value` for `owner` (any stable name, such as `site:<id>`)."""
    return _ring(str(settings.FACET_KEYS_FILE)).seal(value, owner)


def unseal(sealed: bytes, *, owner: str) -> bytes:
    """The value sealed for `owner`. Raises CannotOpen. A key that was added since the ring was read is found."""
    if not _ring(str(settings.FACET_KEYS_FILE)).knows(sealed):
        forget_ring()
    return _ring(str(settings.FACET_KEYS_FILE)).open(sealed, owner)
