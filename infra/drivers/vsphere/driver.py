"""The contract of infra.drivers.base on a vCenter: the three layers of plain vSphere together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from ..base import (
    AntiAffinityRule,
    Changes,
    Connection,
    DriverError,
    FolderSpec,
    GoneOutcome,
    HostRule,
    Inventory,
    MoveSpec,
    PoolSpec,
    Power,
    Refused,
    RuleFacts,
    SiteCheck,
    TaskFacts,
    VmFacts,
    VmOutcome,
    VmSpec,
)
from . import places, relocation, rules, tasks, vms
from .digests import Digests
from .disks import Disks
from .finding import Finder
from .images import Images
from .inventory import Look
from .library import Library
from .lifecycle import Lifecycle
from .networks import Networks
from .policies import Policies
from .privileges import Privileges
from .session import Session
from .snapshots import Snapshots
from .volumes import Volumes
from .watch import Watch

SIMULATORS = ("simulator", "vcsim", "govmomi")


class VsphereDriver(Lifecycle, Snapshots, Images, Networks, Policies, Volumes, Privileges):
    """One vCenter. Thread-safe; one session for all threads of a process, opened at the first call."""

    def __init__(self, connection: Connection) -> None:
        self._session = Session(connection)
        self._finder = Finder(self._session)
        self._library = Library(connection)
        self._disks = Disks(self._finder)
        self._watch = Watch(self._session)
        self._digests = Digests(self._session)
        self._simulated: bool | None = None

    # --- looking ---------------------------------------------------------------------------------------------------

    def check(self) -> SiteCheck:
        about = self._session.content.about
        return SiteCheck(
            product=about.name,
            version=f"{about.version} build-{about.build}",
            instance_id=about.instanceUuid,
            simulated=self._is_simulated(),
        )

    def inventory(self) -> Inventory:
        cursor = self._watch.open()  # first: what moves while we read is told again, never lost
        look = Look.at(self._session, self._digests)
        return Inventory(
            hosts=look.hosts(),
            datastores=look.datastores(),
            networks=look.networks(),
            templates=(*look.templates(), *self._library.items()),
            vms=look.vms(),
            cursor=cursor,
            simulated=self._is_simulated(),
        )

    def changes(self, cursor: str, wait_s: float) -> Changes:
        return self._watch.changes(cursor, wait_s)

    def poll(self, refs: Sequence[str]) -> Mapping[str, TaskFacts]:
        return tasks.poll(self._session, refs)

    def find_vms(self, keys: Iterable[UUID]) -> Mapping[UUID, VmFacts]:
        return {key: machine.facts() for key, machine in self._finder.find(keys).items()}

    # --- places ----------------------------------------------------------------------------------------------------

    def ensure_folder(self, spec: FolderSpec) -> str:
        return places.ensure_folder(self._session, spec)

    def ensure_no_folder(self, ref: str) -> None:
        places.ensure_no_folder(self._session, ref)

    def ensure_pool(self, spec: PoolSpec) -> Mapping[str, str]:
        return places.ensure_pool(self._session, spec)

    def ensure_no_pool(self, refs: Iterable[str]) -> None:
        places.ensure_no_pool(self._session, refs)

    # --- VMs -------------------------------------------------------------------------------------------------------

    def ensure_vms(self, specs: Sequence[VmSpec]) -> Mapping[UUID, VmOutcome]:
        return vms.ensure_vms(self._finder, specs)

    def ensure_boot_data(self, boot: Mapping[UUID, str | None]) -> Mapping[UUID, DriverError | None]:
        return vms.ensure_boot_data(self._finder, boot)

    def ensure_power(self, wanted: Mapping[UUID, Power]) -> Mapping[UUID, VmOutcome]:
        return vms.ensure_power(self._finder, wanted)

    def ensure_moved(self, moves: Sequence[MoveSpec]) -> Mapping[UUID, VmOutcome]:
        return relocation.ensure_moved(self._finder, moves)

    def ensure_no_vms(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]:
        return vms.ensure_no_vms(self._finder, keys)

    def ensure_rule(self, rule: AntiAffinityRule | HostRule) -> None:
        leaving = rule.leaving if isinstance(rule, HostRule) else ()
        found = self._finder.find([*rule.vm_keys, *leaving])
        machines = [machine for key, machine in found.items() if key not in leaving]
        if isinstance(rule, HostRule):
            gone = [machine for key, machine in found.items() if key in leaving]
            rules.ensure_host_rule(self._session, rule, machines, gone)
        else:
            rules.ensure_rule(self._session, rule, machines)

    def ensure_no_rule(self, name: str) -> None:
        rules.ensure_no_rule(self._session, name)

    def rules(self) -> tuple[RuleFacts, ...]:
        return rules.rules(self._session)

    def console_log(self, key: UUID) -> str:
        """vCenter keeps no console text: what a guest writes goes to its screen, or to a serial port of its own."""
        raise Refused(
            "vSphere keeps no console log of a VM: open its console in the vSphere Client.", code="no_console"
        )

    def close(self) -> None:
        self._watch.close()
        self._finder.close()
        self._library.close()
        self._session.close()

    def _is_simulated(self) -> bool:
        """A simulated vCenter says so in its name, or has a setting that govmomi's simulator alone has."""
        if self._simulated is None:
            content = self._session.content
            names = " ".join((content.about.name, content.about.fullName, content.about.build)).lower()
            self._simulated = any(word in names for word in SIMULATORS)
            if not self._simulated:
                try:
                    self._simulated = bool(self._session.call(content.setting.QueryOptions, name="vcsim.server.url"))
                except Refused:  # a real vCenter: no such option
                    self._simulated = False
        return self._simulated
