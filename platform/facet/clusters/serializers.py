"""Shapes of what people send about clusters, and get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, WholeNumber
from facet.workloads.serializers import ReasonSerializer, VmPlacementRequest
from scheduler.core.ask import Apart, Together
from scheduler.core.ask import Level as PlaceLevel
from tenants.serializers import NamedSerializer

from . import rules
from .asking import DEFAULT_FLAVOR
from .models import Cluster, ClusterPhase, Node, NodePhase, NodePool, NodeRole

MOST_NODES = 5000  # of one pool, and of a cluster when it is made: more is beyond what Kubernetes is tested with
MOST_POOLS = 20
LONGEST_ACCESS_S = 24 * 3600


class LabelsField(serializers.DictField):
    """Labels: text to text."""

    child = Text(max_length=63, allow_blank=True)


class TaintRequest(StrictSerializer):
    key = Text(max_length=316)
    value = Text(max_length=63, required=False, allow_blank=True, default="")
    effect = serializers.ChoiceField(choices=["NoSchedule", "PreferNoSchedule", "NoExecute"])


class AffinityRequest(StrictSerializer):
    """What the nodes of a role share, always or as far as there is room."""

    level = serializers.ChoiceField(choices=[level.value for level in PlaceLevel])
    mode = serializers.ChoiceField(choices=[how.value for how in Together])


class RulesRequest(VmPlacementRequest):
    """Rules for the hosts of a role's nodes, and for where their disks lie."""

    role = "workers"
    anti_affinity = serializers.ChoiceField(
        choices=[*(how.value for how in Apart), rules.NONE], required=False, default=rules.BEST_APART["workers"]
    )
    affinity = AffinityRequest(required=False, allow_null=True, default=None)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        affinity = data["affinity"]
        if data["anti_affinity"] == Apart.REQUIRED and affinity == {"level": "host", "mode": "required"}:
            sentence = f"No two of the {self.role} may share a host (anti_affinity), and all must: one of it can be."
            raise serializers.ValidationError({"affinity": [sentence]})
        return data


class PlaneRulesRequest(RulesRequest):
    """The same for control planes, of which no two share a host unless it is said."""

    role = "control planes"
    anti_affinity = serializers.ChoiceField(
        choices=[*(how.value for how in Apart), rules.NONE], required=False, default=rules.BEST_APART["planes"]
    )


class ControlPlanesRequest(StrictSerializer):
    count = WholeNumber(minimum=1, maximum=99, required=False, default=1)
    flavor = Text(max_length=63, required=False, default=DEFAULT_FLAVOR)
    placement = PlaneRulesRequest(required=False)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data.setdefault("placement", rules.defaults("planes"))
        return data


class NodePoolRequest(StrictSerializer):
    name = NameField()
    size = WholeNumber(maximum=MOST_NODES)
    flavor = Text(max_length=63, required=False, default=DEFAULT_FLAVOR)
    labels = LabelsField(required=False, default=dict)
    taints = serializers.ListField(child=TaintRequest(), required=False, default=list, max_length=16)
    placement = RulesRequest(required=False)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data.setdefault("placement", rules.defaults("workers"))
        return data


class NetworkRequest(StrictSerializer):
    pod_cidr = Text(max_length=43, required=False, allow_blank=True, default="")
    service_cidr = Text(max_length=43, required=False, allow_blank=True, default="")


class ClusterRequest(StrictSerializer):
    """A cluster that is asked for. What is left out has a default."""

    name = NameField()
    framework = Text(max_length=32, required=False, default="kubernetes")
    version = Text(max_length=32, required=False, allow_blank=True, default="")
    zones = serializers.ListField(child=Text(max_length=63), allow_empty=False, max_length=16)
    control_planes = ControlPlanesRequest(required=False)
    node_pools = serializers.ListField(child=NodePoolRequest(), required=False, default=list, max_length=MOST_POOLS)
    network = NetworkRequest(required=False)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        """The parts that were left out, with their own defaults."""
        planes = {"count": 1, "flavor": DEFAULT_FLAVOR, "placement": rules.defaults("planes")}
        data.setdefault("control_planes", planes)
        data.setdefault("network", {"pod_cidr": "", "service_cidr": ""})
        nodes = data["control_planes"]["count"] + sum(pool["size"] for pool in data["node_pools"])
        if nodes > MOST_NODES:
            sentence = f"A cluster has at most {MOST_NODES} nodes; {nodes} are asked for, control planes among them."
            raise serializers.ValidationError({"node_pools": [sentence]})
        return data


class PlacementRequest(ClusterRequest):
    """A cluster that might be asked for."""

    name = NameField(required=False, default="dry-run")


class SizeRequest(StrictSerializer):
    size = WholeNumber(maximum=MOST_NODES)


class KubeconfigRequest(StrictSerializer):
    expires_in_s = WholeNumber(minimum=60, maximum=LONGEST_ACCESS_S, required=False, default=3600)


# --- answers -------------------------------------------------------------------------------------------------------


class AffinitySerializer(serializers.Serializer):
    level = serializers.CharField()
    mode = serializers.CharField()


class RulesSerializer(serializers.Serializer):
    """Rules for the hosts of a role's nodes."""

    policy = serializers.CharField()
    anti_affinity = serializers.CharField()
    affinity = AffinitySerializer(allow_null=True)
    require = serializers.DictField(child=serializers.CharField(allow_blank=True))
    prefer = serializers.DictField(child=serializers.CharField(allow_blank=True))
    avoid = serializers.DictField(child=serializers.CharField(allow_blank=True))
    storage_class = serializers.CharField(allow_blank=True)


class ControlPlanesSerializer(serializers.Serializer):
    count = serializers.IntegerField()
    flavor = serializers.CharField()
    ready = serializers.IntegerField()
    placement = RulesSerializer()


class NodePoolSerializer(serializers.ModelSerializer):
    ready = serializers.SerializerMethodField()
    labels = serializers.DictField(child=serializers.CharField(allow_blank=True))
    taints = serializers.ListField(child=serializers.DictField())
    placement = serializers.SerializerMethodField()

    class Meta:
        model = NodePool
        fields = [
            "id", "cluster_id", "name", "size", "flavor", "labels", "taints", "placement", "ready", "created_at",
            "generation",
        ]  # fmt: skip

    @extend_schema_field(RulesSerializer)
    def get_placement(self, pool: NodePool) -> dict[str, Any]:
        return rules.of_pool(pool)

    def get_ready(self, pool: NodePool) -> int:
        return sum(node.ready for node in pool.nodes.all())


class NetworkSerializer(serializers.Serializer):
    pod_cidr = serializers.CharField()
    service_cidr = serializers.CharField()


class BrokenRuleSerializer(serializers.Serializer):
    """Nodes that must not share a host, and do, as the site shows it."""

    group = serializers.CharField(help_text="control-planes, or the name of a node pool")
    host = serializers.CharField()
    nodes = serializers.ListField(child=serializers.CharField())


class ClusterSerializer(serializers.ModelSerializer):
    """Needs `zone_names` in its context."""

    tenant = NamedSerializer()
    project = NamedSerializer()
    phase = serializers.ChoiceField(choices=ClusterPhase.choices)
    reason = ReasonSerializer(allow_null=True)
    zones = serializers.SerializerMethodField()
    endpoint = serializers.SerializerMethodField()
    control_planes = serializers.SerializerMethodField()
    node_pools = NodePoolSerializer(many=True)
    network = serializers.SerializerMethodField()
    broken_rules = BrokenRuleSerializer(many=True)

    class Meta:
        model = Cluster
        fields = [
            "id", "name", "tenant", "project", "framework", "version", "phase", "reason", "zones", "endpoint",
            "control_planes", "node_pools", "network", "broken_rules", "simulated", "observed_version", "observed_at",
            "initialized_at", "created_at", "delete_asked_at", "generation", "observed_generation",
        ]  # fmt: skip

    def get_zones(self, cluster: Cluster) -> list[str]:
        names: Mapping[UUID, str] = self.context["zone_names"]
        return [names.get(zone_id, str(zone_id)) for zone_id in cluster.zone_ids]

    def get_endpoint(self, cluster: Cluster) -> str:
        return f"{cluster.endpoint_host}:{cluster.endpoint_port}"

    @staticmethod
    def _planes(cluster: Cluster) -> list[Node]:
        return [node for node in cluster.nodes.all() if node.role == NodeRole.CONTROL_PLANE]

    @extend_schema_field(ControlPlanesSerializer)
    def get_control_planes(self, cluster: Cluster) -> dict[str, Any]:
        return {
            "count": cluster.control_planes,
            "flavor": cluster.control_plane_flavor,
            "ready": sum(node.ready for node in self._planes(cluster)),
            "placement": rules.of_control_planes(cluster),
        }

    def get_network(self, cluster: Cluster) -> dict[str, str]:
        return {"pod_cidr": cluster.pod_cidr, "service_cidr": cluster.service_cidr}


class NodeSerializer(serializers.ModelSerializer):
    """Needs `hosts` (vm id -> host and zone names) in its context."""

    phase = serializers.ChoiceField(choices=NodePhase.choices)
    reason = ReasonSerializer(allow_null=True)
    pool = serializers.CharField(source="pool.name", allow_null=True, default=None)
    vm = serializers.SerializerMethodField()
    address = serializers.CharField(source="vm.address", allow_null=True)
    host = serializers.SerializerMethodField()
    zone = serializers.SerializerMethodField()

    class Meta:
        model = Node
        fields = [
            "id", "name", "role", "pool", "phase", "ready", "reason", "address", "host", "zone", "vm", "created_at",
            "observed_at",
        ]  # fmt: skip

    def get_vm(self, node: Node) -> dict[str, Any]:
        return {"id": str(node.vm_id), "phase": node.vm.phase, "power": node.vm.power}

    def get_host(self, node: Node) -> str | None:
        held = self.context["allocations"].get(node.vm_id)
        return (held.seen_on or held.host).name if held else None

    def get_zone(self, node: Node) -> str:
        zone: str = self.context["zone_names"].get(node.vm.zone_id, "")
        return zone


class KubeconfigSerializer(serializers.Serializer):
    """A way in for one caller. The key is shown once."""

    kubeconfig = serializers.CharField()
    context = serializers.CharField()
    server = serializers.CharField()
    certificate_authority_data = serializers.CharField(help_text="PEM")
    client_certificate_data = serializers.CharField(help_text="PEM")
    client_key_data = serializers.CharField(help_text="PEM")
    expires_at = serializers.DateTimeField()


class PlacedSerializer(serializers.Serializer):
    name = serializers.CharField()
    role = serializers.CharField()
    zone = serializers.CharField()
    host = serializers.CharField()
    datastore = serializers.CharField()
    why = serializers.DictField()


class PlacementSerializer(serializers.Serializer):
    """Whether a cluster would fit: where its nodes would go, or the reasons why not."""

    fits = serializers.BooleanField()
    placements = PlacedSerializer(many=True)
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)
    limits = serializers.ListField(child=serializers.DictField(), required=False)
    filters = serializers.ListField(child=serializers.DictField(), required=False)
    nearest = serializers.ListField(child=serializers.DictField(), required=False)
