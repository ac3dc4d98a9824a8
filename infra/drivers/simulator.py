"""The contract of infra.drivers.base on a simulated datacenter: a client of its HTTP API (infra/simulator/server.py).

A verb over many VMs is one call for each step: look, make what is missing, mend what is wrong. No verb trusts the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from uuid import UUID

from .base import (
    AntiAffinityRule,
    Changes,
    Connection,
    DatastoreFacts,
    DriverError,
    FolderSpec,
    GoneOutcome,
    HostFacts,
    HostRule,
    HostState,
    InFlight,
    Inventory,
    MoveSpec,
    NetworkFacts,
    NotReady,
    PoolSpec,
    Power,
    Refused,
    RuleFacts,
    SiteCheck,
    TaskFacts,
    TaskState,
    TemplateFacts,
    VmFacts,
    VmOutcome,
    VmSpec,
    names_cards,
    with_macs,
)
from .descriptions import described
from .extraconfig import KEY, METADATA, USERDATA, VERSION, packed, unpacked
from .names import place_name
from .simulated.answers import outcome as _outcome
from .simulated.answers import vm as _vm
from .simulated.images import Images
from .simulated.lifecycle import Lifecycle
from .simulated.networks import Networks
from .simulated.policies import Policies
from .simulated.privileges import Privileges
from .simulated.snapshots import Snapshots
from .simulated.volumes import Volumes
from .simulator_way import Document, Way, driver_error

LOOKS = 4


class SimulatorDriver(Lifecycle, Snapshots, Images, Networks, Policies, Volumes, Privileges):
    """One simulated datacenter. Thread-safe; makes no call before the first verb."""

    def __init__(self, connection: Connection) -> None:
        self._way = Way(connection)

    # --- looking ---------------------------------------------------------------------------------------------------

    def check(self) -> SiteCheck:
        return SiteCheck(**self._way.ask("about"), simulated=True)

    def inventory(self) -> Inventory:
        seen = self._way.ask("inventory")
        return Inventory(
            hosts=_hosts(seen["hosts"]),
            datastores=tuple(DatastoreFacts(**one) for one in seen["datastores"]),
            networks=tuple(NetworkFacts(**one) for one in seen["networks"]),
            templates=tuple(
                TemplateFacts(**(one | {"datastore_refs": tuple(one["datastore_refs"])})) for one in seen["templates"]
            ),
            vms=tuple(_vm(one) for one in seen["vms"]),
            cursor=seen["cursor"],
            simulated=True,
        )

    def changes(self, cursor: str, wait_s: float) -> Changes:
        moved = self._way.ask("changes", wait_s=wait_s, cursor=cursor)
        if moved["resync"]:
            return Changes(cursor, resync=True)
        return Changes(
            cursor=moved["cursor"],
            hosts=_hosts(moved["hosts"]),
            datastores=tuple(DatastoreFacts(**one) for one in moved["datastores"]),
            vms=tuple(_vm(one) for one in moved["vms"]),
            gone_refs=tuple(moved["gone_refs"]),
        )

    def poll(self, refs: Sequence[str]) -> Mapping[str, TaskFacts]:
        if not refs:
            return {}
        known = self._way.ask("poll", refs=list(refs))
        return {ref: _task(known.get(ref)) for ref in refs}

    def find_vms(self, keys: Iterable[UUID]) -> Mapping[UUID, VmFacts]:
        return {key: _vm(one["vm"]) for key, one in self._find(keys).items()}

    # --- places ----------------------------------------------------------------------------------------------------

    def ensure_folder(self, spec: FolderSpec) -> str:
        name = place_name(spec.name, spec.key)
        return str(self._way.ask("folder", name=name, parent_ref=spec.parent_ref, ref=spec.ref)["ref"])

    def ensure_no_folder(self, ref: str) -> None:
        self._way.ask("no_folder", ref=ref)

    def ensure_pool(self, spec: PoolSpec) -> Mapping[str, str]:
        name = place_name(spec.name, spec.key)
        parts = [asdict(part) for part in spec.parts]
        return self._way.ask("pool", name=name, expandable=spec.expandable, parts=parts)

    def ensure_no_pool(self, refs: Iterable[str]) -> None:
        self._way.ask("no_pool", refs=list(refs))

    # --- VMs -------------------------------------------------------------------------------------------------------

    def ensure_vms(self, specs: Sequence[VmSpec]) -> Mapping[UUID, VmOutcome]:
        outcomes: dict[UUID, VmOutcome] = {}
        pending = {spec.key: spec for spec in specs}
        for _ in range(LOOKS):
            if not pending:
                return outcomes
            seen = self._find(pending)
            self._clone([spec for key, spec in pending.items() if key not in seen], outcomes)
            self._mend([(pending[key], one) for key, one in seen.items()], outcomes)
            pending = {key: spec for key, spec in pending.items() if key not in outcomes}
        return outcomes | {key: NotReady("The VM changes under our hands: look again.") for key in pending}

    def _clone(self, specs: Sequence[VmSpec], outcomes: dict[UUID, VmOutcome]) -> None:
        """A name that is taken means look: ours is looked at again, one that is being made is waited for."""
        if not specs:
            return
        answers = self._way.ask("clone", asked=[_wish(spec) for spec in specs])
        for spec in specs:
            answer = answers[str(spec.key)]
            holder = answer.get("holder")
            if holder is None:
                outcome = _outcome(answer)
                if not (isinstance(outcome, VmFacts) and names_cards(spec.metadata)):  # else: written at the next look
                    outcomes[spec.key] = outcome
            elif holder["in_flight"]:
                outcomes[spec.key] = NotReady(f"A VM named {spec.name} is being made.")
            elif holder["key"] != str(spec.key):
                outcomes[spec.key] = Refused(f"Another VM in the folder is named {spec.name}.", code="name_taken")

    def _mend(self, seen: Sequence[tuple[VmSpec, Document]], outcomes: dict[UUID, VmOutcome]) -> None:
        """What is right is left alone, and what runs too: its differences are drift, not mended under its feet."""
        wrong: dict[str, Document] = {}
        for spec, one in seen:
            facts = _vm(one["vm"])
            if one["task"]:
                outcomes[spec.key] = InFlight(one["task"], "a task at work on it")
                continue
            changes = _differences(spec, one)
            built = "extra" not in changes
            if facts.power is not Power.OFF and not built:
                outcomes[spec.key] = Refused(f"{spec.name} was powered on before it was finished.", code="invalid")
            elif facts.power is not Power.OFF or not changes:
                outcomes[spec.key] = facts
            else:
                wrong[str(spec.key)] = changes
        if wrong:
            answers = self._way.ask("reconfigure", changes=wrong)
            for key, changes in wrong.items():
                outcome = _outcome(answers[key])
                if not (isinstance(outcome, VmFacts) and changes.get("extra") == {}):
                    outcomes[UUID(key)] = outcome

    def ensure_boot_data(self, boot: Mapping[UUID, str | None]) -> Mapping[UUID, DriverError | None]:
        if not boot:
            return {}
        userdata = {str(key): None if text is None else packed(USERDATA, text) for key, text in boot.items()}
        answers = self._way.ask("guestinfo", userdata=userdata)
        outcomes = {key: _outcome(answers[str(key)]) for key in boot}
        return {key: one if isinstance(one, DriverError) else None for key, one in outcomes.items()}

    def ensure_power(self, wanted: Mapping[UUID, Power]) -> Mapping[UUID, VmOutcome]:
        if not wanted:
            return {}
        answers = self._way.ask("power", wanted={str(key): power.value for key, power in wanted.items()})
        return {key: _outcome(answers[str(key)]) for key in wanted}

    def ensure_moved(self, moves: Sequence[MoveSpec]) -> Mapping[UUID, VmOutcome]:
        if not moves:
            return {}
        places = {str(move.key): asdict(move) for move in moves}
        for place in places.values():
            del place["key"]
        answers = self._way.ask("move", places=places)
        return {move.key: _outcome(answers[str(move.key)]) for move in moves}

    def ensure_no_vms(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]:
        """Off first; only what is off is destroyed."""
        asked = list(dict.fromkeys(keys))
        outcomes: dict[UUID, GoneOutcome] = {}
        for key, outcome in self.ensure_power(dict.fromkeys(asked, Power.OFF)).items():
            if isinstance(outcome, Refused) and outcome.code == "not_found":
                outcomes[key] = None
            elif not isinstance(outcome, VmFacts):
                outcomes[key] = outcome
        off = [key for key in asked if key not in outcomes]
        if off:  # what outlives them is taken from them: while that is refused, they stay
            freed = self._way.ask("release", keys=[str(key) for key in off])
            outcomes |= {key: driver_error(freed[str(key)]["error"]) for key in off if "error" in freed[str(key)]}
            off = [key for key in off if key not in outcomes]
        if off:
            answers = self._way.ask("destroy", keys=[str(key) for key in off])
            for key in off:
                answer = answers[str(key)]
                gone = _outcome(answer) if "gone" not in answer else None
                outcomes[key] = NotReady("The VM is still there.") if isinstance(gone, VmFacts) else gone
        return outcomes

    def ensure_rule(self, rule: AntiAffinityRule | HostRule) -> None:
        more: Document = {}
        if isinstance(rule, HostRule):
            leaving = [str(key) for key in rule.leaving]
            more = {"host_refs": list(rule.host_refs), "must": rule.must, "beside": rule.beside, "leaving": leaving}
        self._way.ask("rule", name=rule.name, vm_keys=[str(key) for key in rule.vm_keys], **more)

    def ensure_no_rule(self, name: str) -> None:
        self._way.ask("no_rule", name=name)

    def rules(self) -> tuple[RuleFacts, ...]:
        return tuple(_rule(one) for one in self._way.ask("rules")["rules"])

    def console_log(self, key: UUID) -> str:
        return str(self._way.ask("console", key=str(key))["text"])

    def close(self) -> None:
        self._way.close()

    def _find(self, keys: Iterable[UUID]) -> dict[UUID, Document]:
        wanted = [str(key) for key in keys]
        found = self._way.ask("find", keys=wanted) if wanted else {}
        return {UUID(key): one for key, one in found.items()}


# --- from specs and to facts ---------------------------------------------------------------------------------------


def _wish(spec: VmSpec) -> Document:
    """A clone request: the key travels in the very call that makes the VM, and so does all that it shall be."""
    witness = {KEY: str(spec.key)} | ({VERSION: spec.guest_version} if spec.guest_version else {})
    names = ("name", "template_ref", "folder_ref", "pool_ref", "host_ref", "datastore_ref", "network_ref")
    sizes = ("vcpu", "memory_mib", "disk_gib")
    asked = {name: getattr(spec, name) for name in (*names, *sizes)} | {"more_networks": list(spec.more_networks)}
    metadata = {} if names_cards(spec.metadata) else packed(METADATA, spec.metadata)
    if spec.source_key is not None:
        asked |= {"source_key": str(spec.source_key)}
    if spec.source_snapshot is not None:
        asked |= {"source_snapshot": described(spec.source_snapshot)}
    return asked | {"key": str(spec.key), "guest_id": spec.guest_id, "extra": witness | metadata}


def _differences(spec: VmSpec, seen: Document) -> Document:
    """What makes a VM right. Disks grow and never shrink. Metadata that names cards is written when they are there."""
    vm = seen["vm"]
    changes: Document = {
        name: getattr(spec, name) for name in ("vcpu", "memory_mib") if vm[name] != getattr(spec, name)
    }
    if vm["disk_gib"] < spec.disk_gib:
        changes["disk_gib"] = spec.disk_gib
    if spec.networks and tuple(seen["networks"]) != spec.networks:
        changes["networks"] = list(spec.networks)
    metadata = with_macs(spec.metadata, seen["macs"])
    if unpacked(seen["metadata"], METADATA) != metadata or metadata is None:
        changes["extra"] = {} if metadata is None else packed(METADATA, metadata)
    return changes


def _rule(one: Document) -> RuleFacts:
    keys = tuple(UUID(key) for key in one["vm_keys"])
    return RuleFacts(**one | {"vm_keys": keys, "host_refs": tuple(one["host_refs"])})


def _task(task: Document | None) -> TaskFacts:
    if task is None:
        return TaskFacts(TaskState.VANISHED)
    return TaskFacts(TaskState(task["state"]), task["progress"], driver_error(task["error"]) if task["error"] else None)


def _hosts(documents: Iterable[Document]) -> tuple[HostFacts, ...]:
    return tuple(
        HostFacts(
            **one
            | {
                "state": HostState(one["state"]),
                "datastore_refs": tuple(one["datastore_refs"]),
                "network_refs": tuple(one["network_refs"]),
            }
        )
        for one in documents
    )
