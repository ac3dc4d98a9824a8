"""What stands at a site, told apart: is it a VM that Facet made or has adopted, or is it another's?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from facet.operations import engine

from .drivers.base import Power, TemplateFacts, VmFacts


class Apart(Protocol):
    """Who can say what is unmanaged. Asked in a transaction that has locked the rows it is written to."""

    def apart(self) -> Unmanaged: ...


@dataclass(frozen=True)
class Unmanaged:
    """What stands at a site, by the ref of where it stands.

    CPU and memory are taken by what runs and is not ours. Disks of ours are counted at their declared size, on the
    first datastore of their VM.
    """

    vcpu: Mapping[str, int]
    memory_mib: Mapping[str, int]
    ours_gib: Mapping[str, int]

    @classmethod
    def of(
        cls, vms: Iterable[VmFacts], templates: Iterable[TemplateFacts] = (), adopted: Collection[UUID] = ()
    ) -> Unmanaged:
        never_run = refs_of(templates)
        vcpu: dict[str, int] = defaultdict(int)
        memory: dict[str, int] = defaultdict(int)
        ours: dict[str, int] = defaultdict(int)
        for vm in vms:
            if vm.witness or vm.key in adopted:
                for ref in vm.datastore_refs[:1]:
                    ours[ref] += vm.disk_gib
            elif vm.power is Power.ON and vm.ref not in never_run:
                vcpu[vm.host_ref] += vm.vcpu
                memory[vm.host_ref] += vm.memory_mib
        return cls(vcpu, memory, ours)

    def apart(self) -> Unmanaged:
        """As it was when it was told apart."""
        return self


@dataclass
class Standing:
    """What a look has shown of a site's VMs.

    Who adopts a VM or gives one back writes its host and datastore in that same transaction; so a look tells apart
    under the locks of the rows that it writes, and not by what was adopted when it began.
    """

    site_id: UUID
    vms: Sequence[VmFacts]
    templates: Sequence[TemplateFacts] = ()
    _adopted: frozenset[UUID] | None = field(default=None, init=False, repr=False)
    _unmanaged: Unmanaged = field(default_factory=lambda: Unmanaged({}, {}, {}), init=False, repr=False)

    def apart(self) -> Unmanaged:
        adopted = engine.adopted_vms(self.site_id)
        if adopted != self._adopted:
            self._unmanaged = Unmanaged.of(self.vms, self.templates, adopted)
            self._adopted = adopted
        return self._unmanaged


def refs_of(templates: Iterable[TemplateFacts]) -> set[str]:
    """VMs that never run as they are."""
    return {template.ref for template in templates if template.is_template}


def with_adopted(vms: Iterable[VmFacts], adopted: Collection[UUID]) -> tuple[VmFacts, ...]:
    """These VMs; one that was adopted is ours as one that carries our witness is."""
    return tuple(replace(vm, witness=True) if vm.key in adopted and not vm.witness else vm for vm in vms)
