"""The objects of one cluster: kept in memory as they are read, written to the etcd members' disks as they change.

Objects are never changed in place; a change is a new object. One revision counts all of a cluster's writes, as
etcd's does.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.simulator.guests.api import resources
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.disk import Disk

HISTORY = 512  # writes that a watch may reach back
Key = tuple[str, str]  # namespace ("" for cluster-wide), name
Change = tuple[str, Obj | None, Obj | None]  # resource key, before, after


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds, as Kubernetes writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(eq=False)
class Watcher:
    """One open watch: what has changed since, in order. None ends it."""

    resource: str
    queue: asyncio.Queue[tuple[int, Obj | None, Obj | None] | None] = field(default_factory=asyncio.Queue)


class Store:
    """All objects of one cluster, by resource key and (namespace, name)."""

    def __init__(self, disk: Disk, cluster: str, now: Callable[[], float]) -> None:
        self.now = now
        self._disk = disk
        self._cluster = cluster
        self._objects: dict[str, dict[Key, Obj]] | None = None
        self._dependents: dict[str, set[tuple[str, str, str]]] = defaultdict(set)  # owner's uid -> what it owns
        self._history: deque[tuple[int, str, Obj | None, Obj | None]] = deque(maxlen=HISTORY)
        self._watchers: set[Watcher] = set()
        self.revision = disk.revision(cluster)
        self._floor = self.revision  # the history begins after this revision
        self.changed: Callable[[str, Obj | None, Obj | None], None] = lambda resource, old, new: None

    def _all(self) -> dict[str, dict[Key, Obj]]:
        if self._objects is None:
            self._objects = defaultdict(dict)
            for resource, namespace, name, body in self._disk.objects(self._cluster):
                obj = json.loads(body)
                self._objects[resource][namespace, name] = obj
                self._index(resource, None, obj)
        return self._objects

    def _index(self, resource: str, old: Obj | None, new: Obj | None) -> None:
        for obj, act in ((old, set.discard), (new, set.add)):
            for owner in (obj or {}).get("metadata", {}).get("ownerReferences") or ():
                metadata = (obj or {})["metadata"]
                act(self._dependents[owner["uid"]], (resource, metadata.get("namespace", ""), metadata["name"]))

    def get(self, resource: str, namespace: str, name: str) -> Obj | None:
        return self._all()[resource].get((namespace, name))

    def list(self, resource: str, namespace: str = "") -> list[Obj]:
        """Sorted by namespace and name; "" is every namespace."""
        found = self._all()[resource]
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def owned(self, uid: str, resource: str = "") -> Iterator[tuple[str, Obj]]:
        """(resource key, object) of what names `uid` as an owner, in the order of its names."""
        for kind, namespace, name in sorted(self._dependents.get(uid, ())):
            if not resource or kind == resource:
                obj = self.get(kind, namespace, name)
                if obj is not None:
                    yield kind, obj

    def in_namespace(self, namespace: str) -> Iterator[tuple[str, Obj]]:
        for resource, found in self._all().items():
            for (space, _), obj in list(found.items()):
                if space == namespace:
                    yield resource, obj

    def create(self, resource: str, obj: Obj) -> Obj:
        """Give it uid and creation time and keep it. The caller has looked that its name is free."""
        metadata: dict[str, Any] = dict(obj.get("metadata") or {})
        metadata["uid"] = str(uuid.uuid4())
        metadata.setdefault("creationTimestamp", stamp(self.now()))
        return self._put(resource, None, {**_typed(resource, obj), "metadata": metadata})

    def update(self, resource: str, old: Obj, new: Obj) -> Obj:
        """Keep `new` in the place of `old`; what is equal is not a write."""
        if {**new, "metadata": {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}} == old:
            return old
        return self._put(resource, old, new)

    def _put(self, resource: str, old: Obj | None, new: Obj) -> Obj:
        self.revision += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.revision)}}
        namespace, name = new["metadata"].get("namespace", ""), new["metadata"]["name"]
        self._all()[resource][namespace, name] = new
        self._disk.put(self._cluster, resource, namespace, name, self.revision, json.dumps(new, separators=(",", ":")))
        self._tell(resource, old, new)
        return new

    def remove(self, resource: str, obj: Obj) -> Obj:
        """Take it out of the store, at once. Returns it as it was last."""
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        self.revision += 1
        self._all()[resource].pop((namespace, name))
        self._disk.drop(self._cluster, resource, namespace, name, self.revision)
        gone = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        self._tell(resource, gone, None)
        return gone

    def _tell(self, resource: str, old: Obj | None, new: Obj | None) -> None:
        self._index(resource, old, new)
        if len(self._history) == HISTORY:
            self._floor = self._history[0][0]
        self._history.append((self.revision, resource, old, new))
        for watcher in self._watchers:
            if watcher.resource == resource:
                watcher.queue.put_nowait((self.revision, old, new))
        self.changed(resource, old, new)

    def watch(self, resource: str, since: int | None) -> Watcher | None:
        """Open a watch of what happens after `since` (None: from now). None where that is longer ago than we keep."""
        if since is not None and since < self._floor:
            return None
        watcher = Watcher(resource)
        for revision, kind, old, new in self._history if since is not None else ():
            if kind == resource and since is not None and revision > since:
                watcher.queue.put_nowait((revision, old, new))
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def end_watches(self) -> None:
        for watcher in list(self._watchers):
            watcher.queue.put_nowait(None)


def _typed(resource: str, obj: Obj) -> Obj:
    """`obj` with its kind in front, as a built-in resource has it."""
    known = resources.BY_KEY.get(resource)
    return {"apiVersion": known.api_version, "kind": known.kind, **obj} if known else obj
