"""Bodies that the API takes, in the world of tests/api/world.py."""

from __future__ import annotations

from typing import Any

from tests import factories, ground
from tests.api import described, world
from tests.api.described import Call

KNOWN: dict[str, Any] = {
    "zone": "az2",
    "zones": ["az1"],
    "site": "dc1",
    "selector": {"vsphere_cluster": "rack-3"},
    "datastores": ["ssd-1"],
    "cidr": "10.9.0.0/24",
    "driver": "vsphere",
    "endpoint": "https://127.0.0.1:9/sdk",
    "username": "root",
    "password": factories.PASSWORD,
    "template": "kube-v1.34",
    "version": "v1.34.2",
    "manifest": ground.CNI.read_text(),
    "free": "vcpu",  # a name for where any may stand
}
ROLES = {"tenants": "tenant-admin", "projects": "project-viewer", "platform": "auditor"}
LIMITS = {"tenants": factories.PLENTY, "projects": world.PROJECT_LIMITS}


def valid(call: Call) -> dict[str, Any]:
    """A body that the call takes in the world of these tests."""
    first, last = call.path.split("/")[0], call.path.replace("/{id}", "").split("/")[-1]
    more: dict[str, Any] = {
        "members": {"user": "acme-editor"},
        "quota": {"limits": LIMITS.get(first)},
        "node-pools": {"size": 2},
        "resize": {"vcpu": 2},
        "offers": {"all": True},
        "storage-classes": {"datastores": ["ssd-1"]},
        "volumes": {"size_gib": 50},
        "attach": {"vm": "acme-db"},
        "what-if": {"kind": "drain_zone"},
        "transfer": {"to": described.ANY_ID, "vcpu": 1},
    }.get(last, {})
    assert call.body is not None
    body: dict[str, Any] = described.minimal(call.body, KNOWN | {"role": ROLES.get(first, "auditor")})
    return body | more
