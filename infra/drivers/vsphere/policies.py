"""Storage policies (SPBM): vCenter's policy service beside its own API, asked in the same session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyVmomi import pbm

from ..base import PolicyFacts
from .parts import Parts

PATH, VERSION = "/pbm/sdk", "pbm.version.version1"
REQUIREMENT = "REQUIREMENT"  # ProfileCategoryEnum: what VMs ask for, not what datastores offer
STORAGE = pbm.profile.ResourceType(resourceType="STORAGE")


class Policies(Parts):
    """See infra.drivers.base."""

    def policies(self) -> tuple[PolicyFacts, ...]:
        """One call for their names, and one for each that asks which datastores satisfy it now."""
        with self._session.beside(PATH, VERSION) as stub:
            content = pbm.ServiceInstance("ServiceInstance", stub).PbmRetrieveServiceContent()
            manager, solver = content.profileManager, content.placementSolver
            ids = manager.PbmQueryProfile(resourceType=STORAGE, profileCategory=REQUIREMENT)
            found = manager.PbmRetrieveContent(profileIds=ids) if ids else []
            return tuple(
                PolicyFacts(
                    one.profileId.uniqueId, one.name, _datastores(solver.PbmQueryMatchingHub(None, one.profileId))
                )
                for one in sorted(found, key=lambda one: (one.name, one.profileId.uniqueId))
            )


def _datastores(hubs: Iterable[Any]) -> tuple[str, ...]:
    """Of what satisfies a policy: clusters of datastores are left out, their members are named themselves."""
    return tuple(sorted(str(hub.hubId) for hub in hubs or () if hub.hubType == "Datastore"))
