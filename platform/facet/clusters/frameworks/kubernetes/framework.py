"""Kubernetes behind the framework contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from facet.clusters.frameworks import base
from facet.clusters.frameworks.base import Boot, ClusterFacts, ClusterSpec, Drained, Level, NodeFacts, Secrets, Waiting
from facet.clusters.frameworks.kubernetes import (
    access,
    addons,
    drain,
    etcd,
    health,
    kubeadm,
    manifests,
    names,
    pki,
    spec,
    userdata,
    versions,
)
from facet.clusters.frameworks.kubernetes.connections import Connections

TOKEN_LIFETIME = timedelta(minutes=30)
LONGEST_ACCESS = timedelta(hours=24)


def utcnow() -> datetime:
    return datetime.now(UTC)


class Kubernetes:
    """Made once for a process; keeps connections and nothing else. See base.Framework for what each call promises."""

    name = "kubernetes"
    control_plane_pool = names.CONTROL_PLANE_POOL
    default_pod_cidr = spec.DEFAULT_POD_CIDR
    default_service_cidr = spec.DEFAULT_SERVICE_CIDR

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utcnow,
        kube_vip_image: str = manifests.KUBE_VIP_IMAGE,
        interface: str = "",
    ) -> None:
        self._clock = clock
        self._kube_vip_image = kube_vip_image
        self._interface = interface
        self._connections = Connections(clock)

    def plan(self, asked: ClusterSpec) -> tuple[base.NodePlan, ...]:
        spec.check(asked)
        control_planes = base.NodePlan(
            base.Role.CONTROL_PLANE, names.CONTROL_PLANE_POOL, asked.control_planes, asked.control_plane_flavor
        )
        pools = (
            base.NodePlan(base.Role.WORKER, pool.name, pool.size, pool.flavor, pool.labels, pool.taints)
            for pool in asked.pools
        )
        return (control_planes, *pools)

    def node_name(self, cluster: str, pool: str, node_id: UUID) -> str:
        return names.node_name(cluster, pool, node_id)

    def prepare(self, cluster: ClusterFacts) -> base.Prepared:
        return base.Prepared(pki.make_secrets(self._clock()), kubeadm.new_token())

    def user_data(self, cluster: ClusterFacts, node: NodeFacts, prepared: base.Prepared, boot: Boot) -> base.BootData:
        return userdata.render(
            cluster,
            node,
            prepared.secrets,
            prepared.token,
            boot,
            kube_vip_image=self._kube_vip_image,
            interface=self._interface,
        )

    def metadata(self, node: NodeFacts) -> str:
        return userdata.metadata(node)

    def admit(self, cluster: ClusterFacts, prepared: base.Prepared) -> None:
        client = self._connections.client(cluster, prepared.secrets)
        client.allow_joins(prepared.token, self._clock() + TOKEN_LIFETIME)

    def install(self, cluster: ClusterFacts, secrets: Secrets, manifest: str) -> int:
        objects = addons.read(manifest)
        return self._connections.client(cluster, secrets).apply(objects)

    def health(self, cluster: ClusterFacts, secrets: Secrets) -> base.ClusterHealth:
        return health.health(self._connections.client(cluster, secrets))

    def before_remove(
        self, cluster: ClusterFacts, node: NodeFacts, secrets: Secrets, others: Sequence[str], *, force: bool = False
    ) -> Drained | Waiting:
        client = self._connections.client(cluster, secrets)
        if not force:
            found = drain.drain(client, node.name)
            if isinstance(found, Waiting):
                return found
        if node.role is base.Role.CONTROL_PLANE:
            etcd.remove_node(lambda at: self._connections.etcd(at, secrets), node.name, node.address, others)
        client.delete_node(node.name)
        return Drained()

    def access(
        self, cluster: ClusterFacts, secrets: Secrets, subject: str, level: Level, lifetime: timedelta
    ) -> base.Credential:
        if not timedelta(0) < lifetime <= LONGEST_ACCESS:
            raise base.BadSpec("lifetime_s", "A kubeconfig is valid for at least a second and at most 24 hours.")
        self._connections.client(cluster, secrets).apply(manifests.access_rules(cluster.project_id))
        signed = pki.sign_user(secrets, subject, cluster.project_id, level, lifetime, self._clock())
        return access.credential(signed)

    def kubeconfig(self, cluster: ClusterFacts, secrets: Secrets, credential: base.Credential) -> str:
        return access.kubeconfig(cluster, secrets, credential)

    def exec_kubeconfig(self, cluster: ClusterFacts, secrets: Secrets, arguments: Sequence[str]) -> str:
        """A kubeconfig whose certificate `facet ARGUMENTS` fetches, again and again."""
        return access.exec_kubeconfig(cluster, secrets, arguments)

    def check_upgrade(self, current: str, target: str) -> None:
        versions.check_upgrade(current, target)

    def check_version(self, version: str) -> None:
        versions.check_offered(version)
