"""What is known of a VM from its devices, extraConfig and cards in use, kept until it changes.

These are nine tenths of a full read, and hardly ever change: an inventory reads them once for each version of a VM's
configuration, which vCenter stamps, and of its power and primary address.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..base import VmFacts
from . import properties
from .machine import HEAVY, Machine
from .properties import Found
from .session import Session

SLICE = 500  # VMs in one heavy read: what lies in memory at once


@dataclass(frozen=True, slots=True)
class _Digest:
    stamp: tuple[Any, ...]
    disk_gib: int
    witness: bool
    boot_data_present: bool
    addresses: tuple[str, ...]


class Digests:
    """VmFacts of all VMs, from light reads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._kept: dict[str, _Digest] = {}
        self._last: dict[str, tuple[Machine, VmFacts]] = {}

    def complete(self, found: Iterable[Found]) -> list[tuple[Machine, VmFacts]]:
        """Every VM that can be read, with its facts; `found` are light reads of all VMs there are.

        One that cannot be read now and could be before is told as it was: left out, it would be taken for gone, and a
        datastore that is away for days must not end the sync of its site.
        """
        listed = list(found)
        light = [one for one in listed if Machine.of(one) is not None]
        with self._lock:
            kept = {one.id: self._kept.get(one.id) for one in light}
            dark = {one.id: self._last[one.id] for one in listed if one.id in self._last and one.id not in kept}
        new = [one for one in light if (known := kept[one.id]) is None or known.stamp != _stamp(one)]
        for start in range(0, len(new), SLICE):
            kept |= self._read(new[start : start + SLICE])
        with self._lock:
            self._kept = {id: digest for id, digest in kept.items() if digest is not None}
            seen = {one.id: pair for one in light if (pair := _pair(one, self._kept.get(one.id))) is not None}
            self._last = seen | dark
            return list(self._last.values())

    def _read(self, part: Sequence[Found]) -> dict[str, _Digest | None]:
        heavy = properties.read(self._session, [one.obj for one in part], HEAVY)
        digests: dict[str, _Digest | None] = {}
        for one in part:
            whole = Found(one.obj, {**one.values, **heavy[one.id].values}) if one.id in heavy else None
            machine = Machine.of(whole) if whole is not None else None
            facts = machine.facts() if machine is not None else None
            if facts is None:
                digests[one.id] = None
                continue
            digests[one.id] = _Digest(
                _stamp(one), facts.disk_gib, facts.witness, facts.boot_data_present, facts.addresses
            )
        return digests


def _pair(found: Found, digest: _Digest | None) -> tuple[Machine, VmFacts] | None:
    machine = Machine.of(found)
    if machine is None or digest is None:  # it went away while we read
        return None
    facts = replace(
        machine.facts(),
        disk_gib=digest.disk_gib,
        witness=digest.witness,
        boot_data_present=digest.boot_data_present,
        address=next(iter(digest.addresses), None),
        addresses=digest.addresses,
    )
    return machine, facts


def _stamp(found: Found) -> tuple[Any, ...]:
    """Another one for each version of a VM's configuration. Its key is in it: a ref may come to name another VM."""
    configured = ("config.instanceUuid", "config.changeVersion", "config.modified")
    return tuple(map(found.get, (*configured, "runtime.powerState", "guest.ipAddress")))
