"""Manifests that IT imports: read strictly, and brought into an order in which they can be applied."""

from __future__ import annotations

from typing import Any

import yaml

from facet.clusters.frameworks.base import BadSpec

FIRST = ("Namespace", "CustomResourceDefinition")  # others may stand in or be made of these
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(text: str) -> list[dict[str, Any]]:
    """The objects of a multi-document YAML, Lists unfolded, namespaces and definitions first. Raises BadSpec."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise BadSpec("manifest", f"The manifest is not YAML: {str(error)[:200]}") from None
    found: list[dict[str, Any]] = []
    for at, document in enumerate(documents, 1):
        if document is not None:
            found += _objects(document, f"Document {at}")
    if not found:
        raise BadSpec("manifest", "The manifest holds no object.")
    return sorted(found, key=lambda item: FIRST.index(item["kind"]) if item["kind"] in FIRST else len(FIRST))


def _objects(document: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        raise BadSpec("manifest", f"{where} is not an object.")
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str) or not document[key]:
            raise BadSpec("manifest", f"{where} has no {key}.")
    if document["kind"] == "List":
        return [one for item in document.get("items") or () for one in _objects(item, f"An item of {where.lower()}")]
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise BadSpec("manifest", f"{where} ({document['kind']}) has no metadata.name.")
    return [document]
