"""What goes wrong at a vCenter while VMs and clusters are made: each fault ends in its cause, or heals by itself.

After each: what was asked for can be deleted, nobody's VM is left at the site (looked at by hand), every book of ours
is right, and no secret stands in a log. vcsim enforces no permission and has no admission control: its front end says
the faults that a real vCenter would (tests/vcsim/faults.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from pyVmomi import vim

from facet.operations.models import Circuit, Inflight
from facet.workloads.models import VM, VmPhase
from infra import outside
from infra.models import Site
from tests import ground, room, sites, work
from tests.contract import vsphere_site
from tests.factories import as_system

from .test_clusters import held

USER_DATA = re.compile(
    r"PRIVATE KEY|H4sI|#cloud-config|\b[a-z0-9]{6}\.[a-z0-9]{16}\b"
)  # PEM, gzip in base64, join tokens
OTHERS = ["DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1", "DC0_H0_VM0", "DC0_H0_VM1"]
HEALED = "healed"


@dataclass(frozen=True)
class Bad:
    """A fault, and what has to come of it: a code in the operation's problem, or HEALED."""

    name: str
    outcome: str
    method: str
    fault: str = ""
    kind: str = "fault"
    times: int = 1
    more: dict[str, Any] = field(default_factory=dict)


def detail(object_type="VirtualMachine", ref="vm-1", privilege=""):
    extra = f"<privilegeId>{privilege}</privilegeId>" if privilege else ""
    return {"detail": f'<object type="{object_type}">{ref}</object>{extra}', "text": "It is not possible now."}


PRIVILEGE = detail(privilege="VirtualMachine.Provisioning.DeployTemplate")
TAKEN = {"detail": '<name>taken</name><object type="VirtualMachine">{stranger}</object>'}
GONE = {"detail": '<obj type="VirtualMachine">vm-99999</obj>'}
FILE = {"detail": "<file>[ds] template/template.vmdk</file>"}
FAULTS = [
    Bad("no resources", "no_resources", "CloneVM_Task", "InsufficientResourcesFault"),
    Bad("no resources at the end", "no_resources", "CloneVM_Task", "InsufficientResourcesFault", "task"),
    Bad("no resources to run", "no_resources", "PowerOnVM_Task", "InsufficientResourcesFault", "task"),
    Bad("another's name", "name_taken", "CloneVM_Task", "DuplicateName", times=0, more=TAKEN),
    Bad("a name that is taken for a moment", HEALED, "CloneVM_Task", "DuplicateName", "task"),
    Bad("a wrong state for a moment", HEALED, "ReconfigVM_Task", "InvalidState"),
    Bad("a wrong state for ever", "invalid_state", "ReconfigVM_Task", "InvalidState", "task", times=0),
    Bad("no permission", "no_permission", "CloneVM_Task", "NoPermission", more=PRIVILEGE),
    Bad("no permission to power on", "no_permission", "PowerOnVM_Task", "NoPermission", more=PRIVILEGE),
    Bad("a file that is missing", "file_not_found", "CloneVM_Task", "FileNotFound", "fault", 0, FILE),
    Bad("a file that is missing for a moment", HEALED, "CloneVM_Task", "FileNotFound", "task"),
    Bad("an object that is gone for a moment", HEALED, "CloneVM_Task", "ManagedObjectNotFound", more=GONE),
    Bad("an object that is gone for ever", "not_found", "CloneVM_Task", "ManagedObjectNotFound", times=0, more=GONE),
    Bad("a session that ends in mid-batch", HEALED, "ReconfigVM_Task", "NotAuthenticated", more=detail()),
    Bad("a session that ends at a read", HEALED, "RetrievePropertiesEx", "NotAuthenticated", more=detail()),
    Bad("a reset", HEALED, "CloneVM_Task", kind="reset"),
    Bad("a reset when it was done", HEALED, "CloneVM_Task", kind="lost"),
    Bad("a reset of a power-on", HEALED, "PowerOnVM_Task", kind="lost"),
    Bad("a call that hangs", HEALED, "CloneVM_Task", kind="hang", more={"hang_s": 3}),
    Bad("a clone that never ends", "task_hangs", "CloneVM_Task", kind="stuck"),
    Bad("a power-on that never ends", "task_hangs", "PowerOnVM_Task", kind="stuck"),
]


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory):
    with vsphere_site.running(tmp_path_factory.mktemp("vcsim"), "-guest-network", "10.77.0.0/16") as site:
        yield site


@pytest.fixture(autouse=True)
def _impatient(settings):
    settings.FACET_CALL_TIMEOUT_S = 2.0


@pytest.fixture
def told():
    """Everything that is logged, down to the libraries' own."""
    with sites.logged() as text:
        yield text.getvalue


@pytest.fixture
def land(vcenter):
    found = ground.carved(vcenter)
    zone = found.it.get("zones")["items"][0]["id"]
    work.succeed(found.it, found.it.patch(f"zones/{zone}", {"endpoint_range": "10.78.0.10-10.78.0.20"}))
    yield found
    vcenter.by_hand.program.heal()
    with as_system():
        ids = list(Site.objects.values_list("id", flat=True))
    for id in ids:
        outside.forget(id)


def ask(land, what):
    if what == "vm":
        return land.editor.post(f"{land.project}/vms", {"name": "db", "zones": land.zones, "flavor": "small"})
    return land.cluster(node_pools=[{"name": "workers", "size": 2}])


def names_at(vcenter):
    """Every VM of the vCenter, by hand."""
    content = vcenter.by_hand.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    step = vim.PropertyCollector.TraversalSpec(name="v", type=vim.view.ContainerView, path="view", skip=False)
    spec = vim.PropertyCollector.FilterSpec(
        propSet=[vim.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["name"], all=False)],
        objectSet=[vim.PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[step])],
    )
    found = content.propertyCollector.RetrieveContents([spec])
    view.DestroyView()
    return sorted(one.propSet[0].val for one in found)


def inject(vcenter, bad):
    stranger = vcenter.by_hand.content.searchIndex.FindByInventoryPath("DC0/vm/DC0_H0_VM0")
    more = {key: str(value).replace("{stranger}", stranger._moId) if key == "detail" else value
            for key, value in bad.more.items()}  # fmt: skip
    vcenter.by_hand.program.inject(bad.method, bad.fault, kind=bad.kind, times=bad.times, **more)


def hurry():
    """A circuit that has opened is tried again at once."""
    with as_system():
        Circuit.objects.update(open_until="2020-01-01T00:00:00Z")


def age():
    """The deadline of a task that is at work goes by."""
    with as_system():
        Inflight.objects.filter(ended_at=None).update(started_at=F("started_at") - timedelta(hours=2))


def ended(land, asked, bad):
    """Its operation's end, or that all its machines were made at the site (no guest of a cluster boots here)."""
    hurry()
    if bad.outcome == "task_hangs":
        age()
    operation = work.ended(land.editor, asked["operation"]["id"])
    if operation or "vm" in asked.body:
        return operation
    with as_system():
        phases = set(VM.objects.filter(deleted_at=None).values_list("phase", flat=True))
    return phases == {VmPhase.BUILT, VmPhase.RUNNING}


def check(land, vcenter, asked, bad):
    found = work.until(lambda: ended(land, asked, bad), what=lambda: land.editor.get("operations").body)
    if bad.outcome != HEALED:
        assert (found["phase"], found["problem"]["code"]) == ("failed", bad.outcome), found
        assert found["problem"]["detail"]
    elif isinstance(found, dict):
        assert found["phase"] == "succeeded", found


@pytest.mark.parametrize("what", ["vm", "cluster"])
@pytest.mark.parametrize("bad", FAULTS, ids=lambda bad: bad.name.replace(" ", "_"))
def test_a_fault_ends_in_the_right_outcome(land, vcenter, told, bad, what):
    empty = held()
    inject(vcenter, bad)
    asked = ask(land, what)
    check(land, vcenter, asked, bad)
    assert vcenter.by_hand.program.admin("GET", "faults")[0] > 0, "the fault befell nobody"
    vcenter.by_hand.program.heal()
    room.check_books()

    kind = asked[what]
    gone = land.editor.delete(f"{what}s/{kind['id']}")
    work.until(lambda: (hurry(), work.ended(land.editor, gone["operation"]["id"]))[1])
    assert land.editor.get(f"operations/{gone['operation']['id']}")["phase"] == "succeeded"
    work.until(lambda: (hurry(), names_at(vcenter) == OTHERS)[1], what=lambda: names_at(vcenter))
    assert held() == empty
    room.check_books()
    with as_system():
        assert not Inflight.objects.exists()
    text = told()
    assert vcenter.by_hand.program.password not in text
    assert USER_DATA.search(text) is None, USER_DATA.search(text)
