"""Reads of many properties in one call, through the PropertyCollector.

Objects that went away are missing from the answer; they never fail the read of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from ..base import Refused
from .faults import driver_error
from .session import Session

Collector = vmodl.query.PropertyCollector


@dataclass(frozen=True)
class Found:
    """An object and those of its properties that are set."""

    obj: Any
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.obj._moId)

    def get(self, name: str, otherwise: Any = None) -> Any:
        return self.values.get(name, otherwise)


def read(session: Session, objects: Iterable[Any], names: Sequence[str]) -> dict[str, Found]:
    """The named properties of these objects of one kind, by id, in one call (and one more for each that is gone)."""
    left = {obj._moId: obj for obj in objects}
    while left:
        kind = type(next(iter(left.values())))
        filters = Collector.FilterSpec(
            propSet=[Collector.PropertySpec(type=kind, pathSet=list(names), all=False)],
            objectSet=[Collector.ObjectSpec(obj=obj) for obj in left.values()],
        )
        try:
            return {found.id: found for found in retrieve(session, [filters])}
        except Refused as refused:
            gone = getattr(refused.__cause__, "obj", None)
            if refused.code != "not_found" or gone is None or left.pop(gone._moId, None) is None:
                raise
    return {}


def read_below(session: Session, root: Any, path: str, kind: Any, names: Sequence[str]) -> list[Found]:
    """The named properties of all objects of `kind` that `root.path` lists."""
    step = Collector.TraversalSpec(name="below", type=type(root), path=path, skip=False)
    filters = Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=kind, pathSet=list(names), all=False)],
        objectSet=[Collector.ObjectSpec(obj=root, skip=True, selectSet=[step])],
    )
    return retrieve(session, [filters])


def view_filter(view: Any, wanted: Mapping[Any, Sequence[str]]) -> Any:
    """What is in a container view, by traversal: its own list keeps the dead."""
    step = Collector.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
    return Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=kind, pathSet=list(names), all=False) for kind, names in wanted.items()],
        objectSet=[Collector.ObjectSpec(obj=view, skip=True, selectSet=[step])],
    )


def make_view(session: Session, kinds: Iterable[Any]) -> Any:
    manager, root = session.content.viewManager, session.content.rootFolder
    return session.call(manager.CreateContainerView, container=root, type=list(kinds), recursive=True)


def read_all(session: Session, wanted: Mapping[Any, Sequence[str]]) -> list[Found]:
    """The named properties of every object of these kinds, in one read."""
    view = make_view(session, wanted)
    try:
        return retrieve(session, [view_filter(view, wanted)])
    finally:
        session.call(view.DestroyView)


def retrieve(session: Session, filters: list[Any]) -> list[Found]:
    """What the filters ask for, complete. A property that we may not read is an error, never a gap in the answer."""
    generation = session.login()
    contents = _pages(session, filters)
    if any(isinstance(one.fault, vim.fault.NotAuthenticated) for content in contents for one in content.missingSet):
        session.login(instead_of=generation)  # govmomi's simulator says it so; a real vCenter refuses the call
        contents = _pages(session, filters)
    for content in contents:
        for missing in content.missingSet:
            if isinstance(missing.fault, vim.fault.NoPermission):
                raise driver_error(missing.fault)
    return [Found(content.obj, {change.name: change.val for change in content.propSet}) for content in contents]


def _pages(session: Session, filters: list[Any]) -> list[Any]:
    collector = session.content.propertyCollector
    page = session.call(collector.RetrievePropertiesEx, specSet=filters, options=Collector.RetrieveOptions())
    contents: list[Any] = []
    while page is not None:
        contents.extend(page.objects)
        page = session.call(collector.ContinueRetrievePropertiesEx, token=page.token) if page.token else None
    return contents
