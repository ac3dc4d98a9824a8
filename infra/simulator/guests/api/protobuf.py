"""Kubernetes' protobuf bodies, read: kubectl writes the objects that it makes itself in this form, and takes JSON back.

The wire format is decoded by the field numbers in protobuf_fields.txt; what is not listed there is left out.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import BUILT_IN, Obj
from infra.simulator.guests.api.store import stamp

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
INLINE = {"volumeSource", "persistentVolumeSource", "localObjectReference", "handler", "ephemeralContainerCommon"}
FIELDS_FILE = Path(__file__).with_name("protobuf_fields.txt")
NO_RESOURCE = {
    ("v1", "DeleteOptions"): "meta.DeleteOptions",
    ("meta.k8s.io/v1", "DeleteOptions"): "meta.DeleteOptions",
    ("v1", "Binding"): "core.Binding",
    ("policy/v1", "Eviction"): "policy.Eviction",
    ("authentication.k8s.io/v1", "TokenRequest"): "authentication.TokenRequest",
    ("autoscaling/v1", "Scale"): "autoscaling.Scale",
}
Field = tuple[str, str, str]  # name, type, "" | "*" | "%"


@cache
def _messages() -> dict[str, dict[int, Field]]:
    found = {}
    for line in FIELDS_FILE.read_text().splitlines():
        if not line.startswith("#"):
            message, *fields = line.split()
            found[message] = {int(number): (name, kind.lstrip("*%"), kind[0] if kind[0] in "*%" else "")
                              for name, number, kind in (field.split(":") for field in fields)}  # fmt: skip
    return found


@cache
def _kinds() -> dict[tuple[str, str], str]:
    """(apiVersion, kind) -> message."""
    named = {(one.api_version, one.kind): f"{(one.group or 'core').partition('.')[0]}.{one.kind}" for one in BUILT_IN}
    return {**named, **NO_RESOURCE}


def decode(body: bytes) -> Obj:
    """The object in a body of MEDIA_TYPE. Raises ApiError 400 (not that format) or 415 (a kind we cannot read)."""
    if not body.startswith(MAGIC):
        raise ApiError(400, "the body is not Kubernetes' protobuf")
    try:
        envelope = dict(_parts(body[len(MAGIC) :]))
        about = {number: value.decode() for number, value in _parts(envelope.get(1, b""))}
        api_version, kind = about.get(1, ""), about.get(2, "")
        message = _kinds().get((api_version, kind), "")
        if message not in _messages():
            raise ApiError(415, f"a simulated cluster does not read {api_version} {kind} as protobuf")
        return {"apiVersion": api_version, "kind": kind, **_message(message, envelope.get(2, b""))}
    except (IndexError, ValueError, struct.error, AttributeError, TypeError) as error:
        raise ApiError(400, f"the protobuf body is broken: {error}") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def _parts(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, int or bytes or float) in the order of the wire."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: Any
        if tag & 7 == VARINT:
            value, at = _varint(data, at)
        elif tag & 7 == BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
            if len(value) != size:
                raise ValueError("it ends too soon")
        elif tag & 7 == FIXED64:
            (value,), at = struct.unpack_from("<d", data, at), at + 8
        elif tag & 7 == FIXED32:
            (value,), at = struct.unpack_from("<f", data, at), at + 4
        else:
            raise ValueError(f"wire type {tag & 7}")
        yield tag >> 3, value


def _message(name: str, data: bytes) -> Obj:
    fields, found = _messages()[name], {}
    for number, raw in _parts(data):
        if number not in fields:
            continue
        field, kind, many = fields[number]
        if many == "%":
            entry = dict(_parts(raw))
            found.setdefault(field, {})[entry.get(1, b"").decode()] = _value(kind, entry.get(2, b""))
            continue
        value = _value(kind, raw)
        if many == "*":
            found.setdefault(field, []).append(value)
        elif field in INLINE:
            found.update(value)
        elif value not in ("", None):  # Go writes every empty text; JSON leaves it out
            found[field] = value
    return found


def _value(kind: str, raw: Any) -> Any:
    if kind == "s":
        return raw.decode()
    if kind == "i":
        return raw - (1 << 64) if raw >= 1 << 63 else raw
    if kind == "b":
        return bool(raw)
    if kind == "y":
        return base64.b64encode(raw).decode()
    if kind == "d":
        return raw
    return SPECIAL[kind](raw) if kind in SPECIAL else _message(kind, raw)


def _time(raw: bytes) -> str | None:
    seconds = dict(_parts(raw)).get(1)
    return stamp(seconds) if seconds is not None else None


def _int_or_string(raw: bytes) -> int | str:
    parts = dict(_parts(raw))
    text = parts.get(3, b"").decode()
    return text if parts.get(1) == 1 else int(_value("i", parts.get(2, 0)))


def _text(raw: bytes) -> str:
    return str(dict(_parts(raw)).get(1, b"").decode())


SPECIAL = {
    "meta.Time": _time,
    "meta.MicroTime": _time,
    "meta.Quantity": _text,
    "meta.IntOrString": _int_or_string,
    "meta.RawExtension": _text,
    "authorization.ExtraValue": lambda raw: [value.decode() for _, value in _parts(raw)],
    "authentication.ExtraValue": lambda raw: [value.decode() for _, value in _parts(raw)],
    "certificates.ExtraValue": lambda raw: [value.decode() for _, value in _parts(raw)],
}
