"""Events, as `kubectl get events` and `describe` show them. Only the newest of each cluster are kept."""

from __future__ import annotations

import secrets

from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store, stamp

KEPT = 200


def record(store: Store, about: Obj, reason: str, message: str, kind: str = "Normal") -> None:
    metadata, now = about["metadata"], stamp(store.now())
    namespace = metadata.get("namespace", "default")
    involved = {"kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"]}
    involved["uid"] = metadata.get("uid", "")
    if "namespace" in metadata:
        involved["namespace"] = namespace
    if about["kind"] == "Node":
        involved["uid"] = metadata["name"]  # what kubelets write, and what `kubectl describe node` asks for
    store.create(
        "events",
        {
            "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": None,
            "source": {"component": "facet-simulator"},
            "reportingComponent": "facet-simulator",
            "reportingInstance": "",
        },
    )
    found = store.list("events")
    if len(found) > KEPT:
        store.remove("events", min(found, key=lambda event: int(event["metadata"]["resourceVersion"])))
