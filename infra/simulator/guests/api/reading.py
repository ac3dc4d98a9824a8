"""Get, list and watch: selectors, pages, tables, and what is computed only when it is looked at."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from infra.simulator.guests.api import selectors, tables
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.message import Request, Response, answer
from infra.simulator.guests.api.resources import Obj, Resource
from infra.simulator.guests.api.store import Store, Watcher
from infra.simulator.guests.api.verbs import Target, find

BOOKMARK_S = 60.0
LONGEST_S = 3600.0
Present = Callable[[str, Obj], Obj]  # (resource key, stored) -> as it reads now


def get(store: Store, target: Target, request: Request, present: Present) -> Response:
    obj = present(target.resource.key, find(store, target))
    return answer(shaped(store, target.resource, request, obj))


def shaped(store: Store, resource: Resource, request: Request, obj: Obj) -> Obj:
    """One object in the form that Accept asks for."""
    accept = request.headers.get("accept", "")
    if "as=Table" in accept:
        return tables.table(resource, [obj], store.now(), request.query.get("includeObject", "Metadata"))
    if "as=PartialObjectMetadata" in accept:
        return tables.partial(obj)
    return obj


def _selection(request: Request) -> Callable[[Obj], bool]:
    by_label = selectors.labels(request.query.get("labelSelector", ""))
    by_field = selectors.fields(request.query.get("fieldSelector", ""))
    return lambda obj: by_label(obj) and by_field(obj)


def list_objects(store: Store, target: Target, request: Request, present: Present) -> Response:
    resource = target.resource
    found, metadata = _page(chosen(store, target, request, present), request)
    metadata["resourceVersion"] = str(store.revision)
    accept = request.headers.get("accept", "")
    if "as=Table" in accept:
        table = tables.table(resource, found, store.now(), request.query.get("includeObject", "Metadata"))
        return answer({**table, "metadata": metadata})
    if "as=PartialObjectMetadataList" in accept:
        items = [tables.partial(obj) for obj in found]
        kind = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return answer({**kind, "metadata": metadata, "items": items})
    kind = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
    return answer({**kind, "metadata": metadata, "items": found})


def chosen(store: Store, target: Target, request: Request, present: Present) -> list[Obj]:
    """What a selector chooses, as it is now."""
    fits = _selection(request)
    found = [present(target.resource.key, obj) for obj in store.list(target.resource.key, target.namespace)]
    return [obj for obj in found if fits(obj)]


def _page(found: list[Obj], request: Request) -> tuple[list[Obj], Obj]:
    """The part of `found` after `continue`, at most `limit` long."""
    try:
        limit = int(request.query.get("limit") or 0)
        after = (
            json.loads(base64.urlsafe_b64decode(request.query["continue"])) if request.query.get("continue") else None
        )
    except ValueError as error:
        raise ApiError(400, "limit or continue is not valid") from error
    if after is not None:
        found = [obj for obj in found if [obj["metadata"].get("namespace", ""), obj["metadata"]["name"]] > after]
    metadata: Obj = {}
    if limit and len(found) > limit:
        last = found[limit - 1]["metadata"]
        token = json.dumps([last.get("namespace", ""), last["name"]]).encode()
        metadata = {"continue": base64.urlsafe_b64encode(token).decode(), "remainingItemCount": len(found) - limit}
        found = found[:limit]
    return found, metadata


def watch(store: Store, target: Target, request: Request, present: Present) -> Response:
    """A stream of events from `resourceVersion` on. An old one answers 410, so that the client lists again."""
    version = request.query.get("resourceVersion", "")
    if version and not version.isdigit():
        raise ApiError(400, f"invalid resourceVersion {version!r}")
    initial = request.flag("sendInitialEvents") or version in ("", "0")
    watcher = store.watch(target.resource.key, None if initial else int(version))
    if watcher is None:
        raise ApiError(410, f"too old resource version: {version}")
    events = _Events(store, target, request, present, watcher)
    return Response(200, stream=events.run(initial=initial))


class _Events:
    """One watch's events, in the form that the client asked for."""

    def __init__(self, store: Store, target: Target, request: Request, present: Present, watcher: Watcher) -> None:
        self._store, self._target, self._request, self._present = store, target, request, present
        self._watcher, self._chosen = watcher, _selection(request)
        self._began = False
        self._first = [
            self._present(target.resource.key, obj) for obj in store.list(target.resource.key, target.namespace)
        ]
        self._revision = store.revision
        wanted = float(request.query.get("timeoutSeconds") or LONGEST_S)
        self._end = asyncio.get_running_loop().time() + min(wanted, LONGEST_S)

    async def run(self, *, initial: bool) -> AsyncIterator[bytes]:
        try:
            if initial:
                for obj in self._first:
                    if self._chosen(obj):
                        yield self._line("ADDED", obj)
                if self._request.flag("sendInitialEvents"):
                    yield self._bookmark({"k8s.io/initial-events-end": "true"})
            self._first = []
            async for line in self._changes():
                yield line
        finally:
            self._store.unwatch(self._watcher)

    async def _changes(self) -> AsyncIterator[bytes]:
        bookmarks = self._request.flag("allowWatchBookmarks")
        while (left := self._end - asyncio.get_running_loop().time()) > 0:
            change = None
            with suppress(TimeoutError):
                change = await asyncio.wait_for(self._watcher.queue.get(), min(left, BOOKMARK_S))
                if change is None:
                    return
            if change is not None:
                self._revision, old, new = change
                line = self._event(old, new)
                if line:
                    yield line
            elif bookmarks:
                yield self._bookmark({})

    def _event(self, old: Obj | None, new: Obj | None) -> bytes:
        space = self._target.namespace
        old, new = (
            self._present(self._target.resource.key, obj)
            if obj is not None and (not space or obj["metadata"].get("namespace") == space)
            else None
            for obj in (old, new)
        )
        was, now = old is not None and self._chosen(old), new is not None and self._chosen(new)
        if now and new is not None:
            return self._line("MODIFIED" if was else "ADDED", new)
        if was and old is not None:
            metadata = {**old["metadata"], "resourceVersion": str(self._revision)}
            return self._line("DELETED", {**old, "metadata": metadata})
        return b""

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        resource = self._target.resource
        metadata: dict[str, Any] = {"resourceVersion": str(self._revision)}
        if annotations:
            metadata["annotations"] = annotations
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return self._line("BOOKMARK", obj)

    def _line(self, kind: str, obj: Obj) -> bytes:
        shown = shaped(self._store, self._target.resource, self._request, obj)
        if shown.get("kind") == "Table" and self._began:
            shown = {**shown, "columnDefinitions": None}
        self._began = True
        return json.dumps({"type": kind, "object": shown}, separators=(",", ":")).encode() + b"\n"
