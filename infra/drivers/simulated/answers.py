"""What the simulator answered about a VM, as facts and outcomes of the contract."""

from __future__ import annotations

from uuid import UUID

from ..addresses import reachable
from ..base import DriverError, InFlight, Power, VmFacts
from ..simulator_way import Document, driver_error


def outcome(answer: Document) -> VmFacts | InFlight | DriverError:
    if "error" in answer:
        return driver_error(answer["error"])
    return InFlight(answer["task"], answer["doing"]) if "task" in answer else vm(answer["vm"])


def vm(one: Document) -> VmFacts:
    typed = {"key": UUID(one["key"]), "power": Power(one["power"]), "datastore_refs": tuple(one["datastore_refs"])}
    told = reachable(one["addresses"])
    return VmFacts(**one | typed | {"addresses": told, "address": next(iter(told), None)})
