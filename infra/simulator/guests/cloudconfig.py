"""Cloud-init's input, read strictly: an unknown key, a wrong type or a wrong encoding is a failed boot.

The real cloud-init takes unknown keys and integer permissions with a shrug; a shrug in a test is a fault in production.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from infra.simulator.guests import netconfig
from infra.simulator.guests.netconfig import BadUserData, mapping

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
GUESTINFO_LIMIT = 64 * 1024  # bytes of one guestinfo value, as it travels
UNZIPPED_LIMIT = 16 * 1024 * 1024
ENCODINGS = {"gzip+base64", "gz+b64", "base64", "b64"}
TOP_KEYS = {
    "write_files", "runcmd", "hostname", "preserve_hostname", "ssh_authorized_keys", "users", "cleanup-guestinfo",
}  # fmt: skip
FILE_KEYS = {"path", "owner", "permissions", "content", "encoding"}
USER_KEYS = {"name", "gecos", "groups", "sudo", "shell", "lock_passwd", "ssh_authorized_keys"}
METADATA_KEYS = {"instance-id", "local-hostname", "hostname", "network", "wait-on-network"}
PERMISSIONS = re.compile(r"0[0-7]{3}")
OWNER = re.compile(r"[a-z_][a-z0-9_-]*(:[a-z_][a-z0-9_-]*)?")


@dataclass(frozen=True)
class File:
    path: str
    mode: int
    owner: str
    content: bytes


@dataclass(frozen=True)
class Seed:
    """What cloud-init was given: who this instance is, which files to write, what to run."""

    instance: str  # "" where metadata names none
    hostname: str
    files: tuple[File, ...] = ()
    commands: tuple[str | list[str], ...] = ()


def seed(guestinfo: Mapping[str, str]) -> Seed:
    """Decode `userdata` and `metadata` (keys with or without the prefix `guestinfo.`). Raises BadUserData."""
    values = {name.removeprefix("guestinfo."): value for name, value in guestinfo.items()}
    metadata = mapping("metadata", _yaml("metadata", _decoded(values, "metadata") or "{}"), METADATA_KEYS)
    if "network" in metadata:
        netconfig.cards(metadata["network"])
    text = _decoded(values, "userdata")
    instance = _text("metadata.instance-id", metadata.get("instance-id", ""))
    hostname = _text("metadata.local-hostname", metadata.get("local-hostname", metadata.get("hostname", "")))
    if not text:
        return Seed(instance, hostname)
    config = _config(text)
    return Seed(
        instance,
        _text("hostname", config.get("hostname", "")) or hostname,
        tuple(_file(f"write_files[{at}]", item) for at, item in enumerate(_list(config, "write_files"))),
        tuple(_command(f"runcmd[{at}]", item) for at, item in enumerate(_list(config, "runcmd"))),
    )


def addresses(guestinfo: Mapping[str, str], macs: Sequence[str], leased: str) -> list[str]:
    """What a machine with these cards would tell that booted with this; see netconfig.told. None where it is wrong."""
    values = {name.removeprefix("guestinfo."): value for name, value in guestinfo.items()}
    try:
        metadata = mapping("metadata", _yaml("metadata", _decoded(values, "metadata") or "{}"), METADATA_KEYS)
        wanted = netconfig.cards(metadata["network"]) if "network" in metadata else None
    except BadUserData:  # its boot has failed, and its console says why
        return []
    return netconfig.told(wanted, macs, leased)


def _decoded(values: Mapping[str, str], name: str) -> str:
    raw, encoding = values.get(name, ""), values.get(f"{name}.encoding", "")
    if raw in ("", "---"):  # what a wiped value reads as
        return ""
    if len(raw) > GUESTINFO_LIMIT:
        raise BadUserData(f"{name}: {len(raw)} bytes, at most {GUESTINFO_LIMIT}")
    if not encoding:
        return raw
    if encoding not in ENCODINGS:
        raise BadUserData(f"{name}.encoding: {encoding!r} is not one of {', '.join(sorted(ENCODINGS))}")
    return _bytes(name, raw, encoding).decode()


def _bytes(where: str, raw: str, encoding: str) -> bytes:
    try:
        plain = base64.b64decode("".join(raw.split()), validate=True)
        return _unzipped(plain) if encoding.startswith("gz") else plain
    except (binascii.Error, EOFError, zlib.error, ValueError) as error:
        raise BadUserData(f"{where}: is not {encoding}: {error}") from error


def _unzipped(raw: bytes) -> bytes:
    """Raises ValueError for what unfolds to more than a guest's memory should hold."""
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with gzip's header
    text = unzip.decompress(raw, UNZIPPED_LIMIT)
    if unzip.unconsumed_tail:
        raise ValueError(f"it unfolds to more than {UNZIPPED_LIMIT} bytes")
    if not unzip.eof:
        raise EOFError("it ends too early")
    return text


def _config(text: str) -> dict[str, Any]:
    if text.split("\n", 1)[0].strip() != "#cloud-config":
        raise BadUserData("userdata: its first line is not #cloud-config")
    config = mapping("userdata", _yaml("userdata", text), TOP_KEYS)
    if not isinstance(config.get("preserve_hostname", False), bool):
        raise BadUserData("preserve_hostname: is not true or false")
    for key in _list(config, "ssh_authorized_keys"):
        _text("ssh_authorized_keys", key)
    for at, user in enumerate(_list(config, "users")):
        if user != "default":
            _text(f"users[{at}].name", mapping(f"users[{at}]", user, USER_KEYS).get("name"))
    for name in _list(config, "cleanup-guestinfo"):
        if name not in ("userdata", "vendordata", "metadata"):
            raise BadUserData(f"cleanup-guestinfo: {name!r} is not a guestinfo value")
    return config


def _yaml(where: str, text: str) -> Any:
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 it is the safe loader, in C
    except (yaml.YAMLError, ValueError) as error:
        raise BadUserData(f"{where}: is not YAML: {error}") from error


def _file(where: str, item: Any) -> File:
    item = mapping(where, item, FILE_KEYS)
    path = _text(f"{where}.path", item.get("path"))
    if not path.startswith("/"):
        raise BadUserData(f"{where}.path: {path!r} is not absolute")
    permissions = item.get("permissions", "0644")
    if not isinstance(permissions, str) or not PERMISSIONS.fullmatch(permissions):
        raise BadUserData(f"{where}.permissions: {permissions!r} is not a string such as '0600'")
    owner = _text(f"{where}.owner", item.get("owner", "root:root"))
    if not OWNER.fullmatch(owner):
        raise BadUserData(f"{where}.owner: {owner!r} is not user:group")
    content, encoding = _text(f"{where}.content", item.get("content", "")), item.get("encoding")
    if encoding not in (None, "b64", "gz+b64"):
        raise BadUserData(f"{where}.encoding: {encoding!r} is not b64 or gz+b64")
    raw = content.encode() if encoding is None else _bytes(f"{where}.content", content, encoding)
    return File(path, int(permissions, 8), owner, raw)


def _command(where: str, item: Any) -> str | list[str]:
    if isinstance(item, str):
        return item
    if isinstance(item, list) and item and all(isinstance(word, str) for word in item):
        return item
    raise BadUserData(f"{where}: is neither a string nor a list of strings")


def _list(config: Mapping[str, Any], key: str) -> list[Any]:
    value = config.get(key, [])
    if not isinstance(value, list):
        raise BadUserData(f"{key}: is not a list")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadUserData(f"{where}: is not a string")
    return value
