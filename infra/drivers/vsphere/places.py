"""Folders and resource pools: made once, changed only where they are wrong, removed only when empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from pyVmomi import vim

from ..base import FolderSpec, NotReady, PoolPart, PoolSpec, Refused
from ..names import place_name
from . import properties, tasks
from .session import Session, ref_of

NO_LIMIT = -1
WAIT_S = 10.0
POOL = ("name", "parent", "config.cpuAllocation", "config.memoryAllocation")


# --- folders -------------------------------------------------------------------------------------------------------


def ensure_folder(session: Session, spec: FolderSpec) -> str:
    if spec.ref and spec.ref in properties.read(session, [session.object(vim.Folder, spec.ref)], ("name",)):
        return spec.ref
    parent = session.object(vim.Folder, spec.parent_ref) if spec.parent_ref else vm_root(session)
    name = place_name(spec.name, spec.key)
    known = _named(session, parent, "childEntity", vim.Folder, name)
    if known is None:
        known = _made(session, parent, "childEntity", vim.Folder, name, lambda: session.call(parent.CreateFolder, name))
    return str(known._moId)


def ensure_no_folder(session: Session, ref: str) -> None:
    folder = session.object(vim.Folder, ref)
    found = properties.read(session, [folder], ("childEntity",)).get(ref)
    if found is None:
        return
    if found.get("childEntity"):
        raise Refused("The folder is not empty.", code="in_use")
    _destroy(session, folder)


def vm_root(session: Session) -> Any:
    """The VM folder of the site's datacenter."""
    found = properties.read_all(session, {vim.Datacenter: ("name", "vmFolder")})
    if len(found) != 1:
        names = ", ".join(sorted(unquote(one.get("name", "")) for one in found)) or "none"
        raise Refused(f"Facet works in a vCenter of exactly one datacenter; this one has {names}.", code="invalid")
    return found[0].get("vmFolder")


# --- pools ---------------------------------------------------------------------------------------------------------


def ensure_pool(session: Session, spec: PoolSpec) -> dict[str, str]:
    return {part.compute_ref: _ensure_part(session, spec, part) for part in spec.parts}


def _ensure_part(session: Session, spec: PoolSpec, part: PoolPart) -> str:
    name = place_name(spec.name, spec.key)
    wanted = _config(part, spec.expandable)
    pool = _known_pool(session, part)
    if pool is None:
        parent = _parent(session, part)
        pool = _named(session, parent, "resourcePool", vim.ResourcePool, name)
        if pool is None:
            pool = _made(
                session,
                parent,
                "resourcePool",
                vim.ResourcePool,
                name,
                lambda: session.call(parent.CreateResourcePool, name=name, spec=wanted),
            )
    found = properties.read(session, [pool], POOL).get(pool._moId)
    if found is None:
        raise NotReady("The resource pool went away just now.")
    if not (
        _same(found.get("config.cpuAllocation"), wanted.cpuAllocation)
        and _same(found.get("config.memoryAllocation"), wanted.memoryAllocation)
    ):
        session.call(pool.UpdateConfig, name=None, config=wanted)
    return ref_of(pool, vim.ResourcePool)


def _known_pool(session: Session, part: PoolPart) -> Any:
    if not part.ref:
        return None
    pool = session.object(vim.ResourcePool, part.ref)
    return pool if properties.read(session, [pool], ("name",)) else None


def _parent(session: Session, part: PoolPart) -> Any:
    if part.parent_ref:
        return session.object(vim.ResourcePool, part.parent_ref)
    compute = session.object(vim.ClusterComputeResource, part.compute_ref)
    found = properties.read(session, [compute], ("resourcePool",)).get(compute._moId)
    if found is None:
        raise Refused(f"The vCenter does not know the compute resource {part.compute_ref}.", code="not_found")
    return found.get("resourcePool")


def _config(part: PoolPart, expandable: bool) -> Any:
    return vim.ResourceConfigSpec(
        cpuAllocation=_allocation(part.cpu_reserved_mhz, part.cpu_limit_mhz, expandable),
        memoryAllocation=_allocation(part.memory_reserved_mib, part.memory_limit_mib, expandable),
    )


def _allocation(reserved: int, limit: int | None, expandable: bool) -> Any:
    return vim.ResourceAllocationInfo(
        reservation=reserved,
        limit=NO_LIMIT if limit is None else limit,
        expandableReservation=expandable,
        shares=vim.SharesInfo(level="normal", shares=0),  # vCenter reads the number only for level custom
    )


def _same(found: Any, wanted: Any) -> bool:
    return found is not None and all(
        (
            found.reservation == wanted.reservation,
            found.limit == wanted.limit,
            found.expandableReservation in (None, wanted.expandableReservation),
            str(found.shares.level) == "normal",
        )
    )


def ensure_no_pool(session: Session, refs: Iterable[str]) -> None:
    """vCenter would move VMs and children of a destroyed pool into its parent: a pool goes only when empty."""
    pools = [session.object(vim.ResourcePool, ref) for ref in refs]
    found = properties.read(session, pools, ("name", "vm", "resourcePool"))
    full = [unquote(one.get("name", "")) for one in found.values() if one.get("vm") or one.get("resourcePool")]
    for one in found.values():
        if not (one.get("vm") or one.get("resourcePool")):
            _destroy(session, one.obj)
    if full:
        raise Refused(f"Still in use: {', '.join(sorted(full))}.", code="in_use")


# --- both ----------------------------------------------------------------------------------------------------------


def _named(session: Session, parent: Any, path: str, kind: Any, name: str) -> Any:
    found = properties.read_below(session, parent, path, kind, ("name",))
    return next((one.obj for one in found if unquote(one.get("name", "")) == name), None)


def _made(session: Session, parent: Any, path: str, kind: Any, name: str, make: Callable[[], Any]) -> Any:
    """The child that `make` makes, or that somebody else made meanwhile under this very name, which is ours alone."""
    try:
        return make()
    except Refused as refused:
        if refused.code != "name_taken":
            raise
        found = _named(session, parent, path, kind, name)
        if found is None:
            raise NotReady(f"{name} is being made by another.") from refused
        return found


def _destroy(session: Session, obj: Any) -> None:
    try:
        task = session.call(obj.Destroy_Task)
    except Refused as refused:
        if refused.code == "not_found":
            return
        raise
    error = tasks.wait(session, [task._moId], WAIT_S)[task._moId]
    if error is not None and error.code != "not_found":
        raise error
