"""Copies of templates, by key. A copy takes no time, and so begins no task; it is offered to nobody but who made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra.drivers.base import Refused

from . import admission, documents
from .acts import Acts, Document
from .admission import known
from .records import Template


class Images(Acts):
    def ensure(self, wanted: Mapping[str, Document]) -> Document:
        return self._each(wanted, self._ensure)

    def remove(self, keys: Iterable[str]) -> Document:
        return self._each(dict.fromkeys(keys), lambda key, _: self._remove(key))

    def _ensure(self, key: str, wanted: Document) -> Document:
        state = self._state
        there = self._copy(key)
        if there is not None:
            return {"template": documents.template(state, there)}
        source = known(state.templates, wanted["template_ref"], "template")
        folder = known(state.folders, wanted["folder_ref"], "folder")
        store = known(state.datastores, wanted["datastore_ref"], "datastore")
        if (folder.ref, wanted["name"]) in state.names:
            raise Refused(f"Another thing in the folder is named {wanted['name']}.", code="name_taken")
        self._refuse("image", str(wanted["name"]))
        admission.fits_datastore(state, store.ref, source.disk_gib)
        made = Template(
            state.new_ref("vm"), str(wanted["name"]), folder.ref, source.vcpu, source.memory_mib, source.disk_gib,
            store.ref, source.version, key,
        )  # fmt: skip
        state.put(made)
        return {"template": documents.template(state, made)}

    def _remove(self, key: str) -> Document:
        there = self._copy(key)
        if there is not None:
            self._refuse("no_image", there.name)
            self._state.remove(there)
        return {"gone": True}

    def _copy(self, key: str) -> Template | None:
        return next((one for one in self._state.templates.values() if one.key == key), None)
