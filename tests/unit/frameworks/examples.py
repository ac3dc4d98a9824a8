"""One cluster with fixed ids, keys and clock, and the boot data of one node of each kind.

`python -m tests.unit.frameworks.examples` writes the golden files anew: read the difference before you keep it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import yaml

from facet.clusters.frameworks.base import (
    Boot,
    BootData,
    ClusterFacts,
    ClusterSpec,
    FlavorFacts,
    NodeFacts,
    PoolSpec,
    Prepared,
    Role,
    Taint,
)
from facet.clusters.frameworks.kubernetes import pki
from facet.clusters.frameworks.kubernetes.framework import Kubernetes

GOLDEN = Path(__file__).parent / "golden"
SECRETS_FILE = GOLDEN / "secrets.yaml"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOKEN = "abcdef.0123456789abcdef"
FLAVOR = FlavorFacts(2, 2048)
CLUSTER = ClusterFacts(
    id=UUID("019a0000-0000-7000-8000-0000000000c1"),
    name="shop",
    tenant_id=UUID("019a0000-0000-7000-8000-0000000000a1"),
    project_id=UUID("019a0000-0000-7000-8000-0000000000b1"),
    version="v1.34.2",
    endpoint_host="127.20.0.10",
    endpoint_port=6443,
    pod_cidr="10.244.0.0/16",
    service_cidr="10.96.0.0/12",
    control_planes=3,
)
SPEC = ClusterSpec(
    name="shop",
    version="v1.34.2",
    control_planes=1,
    control_plane_flavor=FLAVOR,
    pools=(PoolSpec("main", 3, FLAVOR),),
    pod_cidr="10.244.0.0/16",
    service_cidr="10.96.0.0/12",
)


def node(role: Role, number: int, **changes: object) -> NodeFacts:
    pool = "cp" if role is Role.CONTROL_PLANE else "main"
    node_id = UUID(f"019a0000-0000-7000-8000-{number:012x}")
    name = Kubernetes().node_name(CLUSTER.name, pool, node_id)
    return replace(NodeFacts(node_id, name, role, pool, str(node_id)), **changes)


NODES = {
    "init": (node(Role.CONTROL_PLANE, 1), Boot.INIT),
    "join-control-plane": (node(Role.CONTROL_PLANE, 2), Boot.JOIN),
    "join-worker": (
        node(
            Role.WORKER,
            3,
            labels={"example.com/kind": "batch", "tier": "web"},
            taints=(Taint("dedicated", "NoSchedule", "batch"),),
        ),
        Boot.JOIN,
    ),
}


def secrets() -> dict[str, bytes]:
    """Keys that are nobody's: made for these tests."""
    return {name: text.encode() for name, text in yaml.safe_load(SECRETS_FILE.read_text()).items()}


def prepared() -> Prepared:
    return Prepared(secrets(), TOKEN)


def boot_data(kind: str) -> BootData:
    found, boot = NODES[kind]
    return Kubernetes(clock=lambda: NOW).user_data(CLUSTER, found, prepared(), boot)


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    if not SECRETS_FILE.exists():
        made = {name: pem.decode() for name, pem in pki.make_secrets(NOW).items()}
        SECRETS_FILE.write_text("# Made for tests: nobody trusts these.\n" + yaml.safe_dump(made, default_style="|"))
    for kind in NODES:
        data = boot_data(kind)
        (GOLDEN / f"{kind}.user-data.yaml").write_text(data.user_data)
        (GOLDEN / f"{kind}.metadata.yaml").write_text(data.metadata)


if __name__ == "__main__":
    main()
