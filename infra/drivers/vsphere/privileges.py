"""What the user may do at the site: the privileges that each layer needs, by vCenter's own ids, and what each is for.

docs/vsphere.md is printed from this table. All of them are asked of the datacenter, for a role that is propagated below
it; those of ROOT of the vCenter itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyVmomi import vim

from . import properties
from .parts import Parts

COMPUTE = {
    "Datastore.AllocateSpace": "disks of VMs",
    "Folder.Create": "folders of zones and projects",
    "Folder.Delete": "the same, when they go",
    "Host.Inventory.EditCluster": "rules that keep machines apart, or on a zone's hosts",
    "Network.Assign": "network cards of VMs",
    "Resource.AssignVMToPool": "VMs in the pools of their projects",
    "Resource.ColdMigrate": "a VM that is off goes to another host",
    "Resource.CreatePool": "pools of zones, tenants and projects",
    "Resource.DeletePool": "the same, when they go",
    "Resource.EditPool": "limits and guarantees of pools",
    "Resource.HotMigrate": "a VM that runs goes to another host, e.g. in a drain",
    "VirtualMachine.Config.AddNewDisk": "disks of VMs",
    "VirtualMachine.Config.AddRemoveDevice": "network cards of VMs",
    "VirtualMachine.Config.AdvancedConfig": "boot data and metadata of guests",
    "VirtualMachine.Config.CPUCount": "the size of VMs",
    "VirtualMachine.Config.DiskExtend": "disks grow",
    "VirtualMachine.Config.EditDevice": "network cards of VMs",
    "VirtualMachine.Config.Memory": "the size of VMs",
    "VirtualMachine.Config.RemoveDisk": "what outlives a VM is taken off it before it goes",
    "VirtualMachine.Config.Rename": "a VM that was renamed by hand gets its name back",
    "VirtualMachine.Config.Settings": "the size of VMs",
    "VirtualMachine.Interact.PowerOff": "VMs go off, guests shut down",
    "VirtualMachine.Interact.PowerOn": "VMs go on",
    "VirtualMachine.Interact.Suspend": "VMs are suspended",
    "VirtualMachine.Inventory.Create": "empty VMs",
    "VirtualMachine.Inventory.CreateFromExisting": "VMs of templates and of other VMs",
    "VirtualMachine.Inventory.Delete": "VMs go",
    "VirtualMachine.Provisioning.Clone": "VMs of other VMs",
    "VirtualMachine.Provisioning.DeployTemplate": "VMs of templates",
    "VirtualMachine.State.CreateSnapshot": "snapshots of VMs",
    "VirtualMachine.State.RemoveSnapshot": "the same, when they go",
    "VirtualMachine.State.RevertToSnapshot": "a VM goes back to a snapshot",
}
NETWORK = {
    "DVPortgroup.Create": "networks of projects' own",
    "DVPortgroup.Delete": "the same, when they go",
    "DVPortgroup.Modify": "their names and VLANs",
    "DVPortgroup.PolicyOp": "firewall rules of projects",
}
STORAGE = {
    "Datastore.FileManagement": "volumes (First Class Disks)",
    "VirtualMachine.Config.AddExistingDisk": "a volume is attached to a VM",
    "StorageProfile.View": "storage policies, and which datastores satisfy them",
}
LIBRARY = {"VApp.Import": "items of content libraries become templates; the user also reads the libraries (globally)"}
LAYERS: Mapping[str, Mapping[str, str]] = {
    "compute": COMPUTE, "network": NETWORK, "storage": STORAGE, "library": LIBRARY,
}  # fmt: skip
ROOT = frozenset({"StorageProfile.View"})


class Privileges(Parts):
    """See infra.drivers.base."""

    def missing_privileges(self) -> Mapping[str, tuple[str, ...]]:
        """Of the user in this session. Where there is no datacenter to be seen, not even reading is granted: all."""
        session = self._session
        session.login()
        content = session.content
        datacenters = [one.obj for one in properties.read_all(session, {vim.Datacenter: ("name",)})]
        every = {name for layer in LAYERS.values() for name in layer}
        lacks = self._lacking(content.rootFolder, sorted(ROOT))
        for datacenter in datacenters:
            lacks |= self._lacking(datacenter, sorted(every - ROOT))
        lacks = lacks if datacenters else every
        missing = {layer: tuple(name for name in sorted(names) if name in lacks) for layer, names in LAYERS.items()}
        return {layer: names for layer, names in missing.items() if names}

    def _lacking(self, entity: object, names: list[str]) -> set[str]:
        session = self._session
        manager = session.content.authorizationManager
        answers = session.call(manager.HasPrivilegeOnEntities, entity=[entity], sessionId=session.key, privId=names)
        return {one.privId for answer in answers for one in answer.privAvailability if not one.isGranted}
