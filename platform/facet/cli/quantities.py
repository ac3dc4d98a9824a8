"""Amounts as people write them, and the one table from the command line's resources to the API's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from .faults import Usage

UNLIMITED = "unlimited"
_BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4, "PiB": 1024**5}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST = 10**12


class Resource(NamedTuple):
    """`key` in the API; `unit` in bytes is what the API counts in, None for things that are counted."""

    key: str
    unit: str | None


RESOURCES: dict[str, Resource] = {
    "vcpu": Resource("vcpu", None),
    "memory": Resource("memory_mib", "MiB"),
    "storage": Resource("storage_gib", "GiB"),
    "vms": Resource("vms", None),
    "clusters": Resource("clusters", None),
    "volumes": Resource("volumes", None),
    "networks": Resource("networks", None),
}
POOL_RESOURCES = ("vcpu", "memory")
_NAMES = {resource.key: name for name, resource in RESOURCES.items()}


def amounts(text: str, *, option: str, allowed: Iterable[str] = tuple(RESOURCES)) -> dict[str, int | None]:
    """`vcpu=64,memory=256GiB` as {"vcpu": 64, "memory_mib": 262144}; `unlimited` is None. Raises Usage."""
    found: dict[str, int | None] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in allowed:
            raise Usage(f"{option}: there is no resource {name!r} here. Resources: {', '.join(allowed)}.")
        if not equals or not value:
            raise Usage(f"{option}: {name} wants an amount, as in {_example(name)}.")
        if RESOURCES[name].key in found:
            raise Usage(f"{option}: {name} is said twice.")
        found[RESOURCES[name].key] = _amount(name, value, option)
    if not found:
        raise Usage(f"{option}: say at least one amount, as in {_example('vcpu')},{_example('memory')}.")
    return found


def wholes(text: str, *, option: str) -> dict[str, int]:
    """Like `amounts`, of a pool: vcpu and memory, never unlimited."""
    found = amounts(text, option=option, allowed=POOL_RESOURCES)
    unlimited = [_NAMES[key] for key, value in found.items() if value is None]
    if unlimited:
        raise Usage(f"{option}: {unlimited[0]} of a pool must be an amount.")
    return {key: value for key, value in found.items() if value is not None}


def duration_s(text: str, *, option: str) -> int:
    """`90`, `90s`, `10m`, `1h` or `2d` in seconds. Raises Usage."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text.strip())
    if match is None or int(match[1]) == 0:
        raise Usage(f"{option}: {text!r} is no length of time, as 90s, 10m or 1h are.")
    return int(match[1]) * _SECONDS[match[2] or "s"]


def shown(key: str, value: int | None) -> str:
    """An amount of the API's resource `key` as people read it."""
    if value is None:
        return UNLIMITED
    unit = next((resource.unit for resource in RESOURCES.values() if resource.key == key), None)
    return size(value, unit) if unit else f"{value:,}"


def size(value: int, unit: str) -> str:
    """`262144, "MiB"` as `256 GiB`: the largest unit that needs no more than one decimal."""
    names = list(_BYTES)
    at = names.index(unit)
    amount = Fraction(value)
    while at + 1 < len(names) and abs(amount) >= 1024 and (amount * 10 / 1024).denominator == 1:
        amount, at = amount / 1024, at + 1
    number = f"{int(amount):,}" if amount.denominator == 1 else f"{float(amount):,.1f}"
    return f"{number} {names[at]}"


def name_of(key: str) -> str:
    """The command line's name of the API's resource."""
    return _NAMES.get(key, key)


def _amount(name: str, text: str, option: str) -> int | None:
    if text == UNLIMITED:
        return None
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", text)
    if match is None:
        raise Usage(f"{option}: {name}={text} is no amount, as {_example(name)} is.")
    number, unit = Fraction(match[1]), match[2]
    counted_in = RESOURCES[name].unit
    if counted_in is None:
        if unit:
            raise Usage(f"{option}: {name} is a number without a unit, as in {_example(name)}.")
    elif unit not in _BYTES:
        raise Usage(f"{option}: {name}={text} wants a unit: {', '.join(_BYTES)}, as in {_example(name)}.")
    else:
        number = number * _BYTES[unit] / _BYTES[counted_in]
    if number.denominator != 1:
        raise Usage(f"{option}: {name}={text} is not a whole number{f' of {counted_in}' if counted_in else ''}.")
    if number > _MOST:
        raise Usage(f"{option}: {name}={text} is more than anyone has.")
    return int(number)


def _example(name: str) -> str:
    return {"vcpu": "vcpu=64", "memory": "memory=256GiB", "storage": "storage=2TiB"}.get(name, f"{name}=5")
