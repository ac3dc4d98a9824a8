"""Another size for a VM that stands: what grows is claimed at once, what shrinks is given back when it was seen.

While it is on its way the VM holds the larger of both sizes in each dimension, and its row says what it was before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facet.operations.models import Operation
from facet.rest.access import Actor
from facet.rest.problems import Conflict, Invalid
from infra.models import Flavor
from scheduler import ledger
from scheduler.ledger import Size

from . import standing
from .models import VM
from .power import WITHIN_S
from .standing import Check

RESIZE = "vm.resize"
DIMENSIONS = ("vcpu", "memory_mib", "disk_gib")
Sizes = Mapping[str, int]


def size_of(vm: VM) -> dict[str, int]:
    return {name: getattr(vm, name) for name in DIMENSIONS}


def larger(one: Sizes, other: Sizes) -> Size:
    """The larger of both in each dimension: what is held while one becomes the other."""
    return Size(*(max(one[name], other[name]) for name in DIMENSIONS))


def wanted(vm: VM, data: Mapping[str, Any]) -> tuple[dict[str, int], str]:
    """The size that a valid body asks for, and the name of its flavor. Raises Invalid naming the field."""
    if "flavor" in data:
        shape = Flavor.objects.filter(name=data["flavor"]).first()
        if shape is None:
            names = ", ".join(Flavor.objects.order_by("name").values_list("name", flat=True))
            raise Invalid({"flavor": f"There is no flavor {data['flavor']}. There are: {names}."})
        size, field = {name: getattr(shape, name) for name in DIMENSIONS}, "flavor"
    else:
        size, field = size_of(vm) | {name: data[name] for name in DIMENSIONS if name in data}, "disk_gib"
    if size["disk_gib"] < vm.disk_gib:
        raise Invalid({field: f"Disks never shrink: {vm.name} has {vm.disk_gib} GiB, not {size['disk_gib']}."})
    return size, data.get("flavor", vm.flavor if size == size_of(vm) else "")


def resize_vm(*, vm: VM, data: Mapping[str, Any], by: Actor, check: Check | None = None) -> Operation:
    """Claim what grows, in this transaction, and let passes change the VM. Said twice, it is the same resize.

    Raises what `standing` and `ledger.resize` do; nothing is held then.
    """
    vm = standing.locked(vm, check)
    same = standing.under_way(vm, RESIZE)
    size, flavor = wanted(vm, data)
    if same is not None and vm.resizing is not None and size == size_of(vm):
        return same
    standing.ready(vm)
    was = size_of(vm)
    _hold(vm, larger(was, size))
    wish = {"was": was | {"flavor": vm.flavor}, "may_stop": data["may_stop"], "begun": False, "off": False}
    within_s = {} if vm.stop_asked_at is not None else {"stop_within_s": WITHIN_S}
    return standing.begin(vm, RESIZE, by=by, before=was, after=size, resizing=wish, flavor=flavor, **size, **within_s)


def _hold(vm: VM, size: Size) -> None:
    try:
        ledger.resize(tenant_id=vm.tenant_id, project_id=vm.project_id, sizes={vm.id: size})
    except ledger.Stale:
        raise Conflict(f"{vm.name} has just arrived elsewhere. Try again.", code="busy", status=503) from None


def cancel(operation: Operation, by: Actor) -> None:
    """While the site has not been asked yet: what was claimed is given back. Raises Conflict."""

    def judge(vm: VM) -> dict[str, Any]:
        wish = vm.resizing
        if wish is None or wish["begun"]:
            sentence = "The site has been asked for the new size. Wait for its end, and ask for the old one."
            raise Conflict(sentence, code="not_cancellable")
        was = {name: wish["was"][name] for name in DIMENSIONS}
        _hold(vm, larger(was, was))
        return {"resizing": None, **wish["was"]}

    standing.take_back(operation, judge)
