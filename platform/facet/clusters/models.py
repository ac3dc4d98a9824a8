"""A cluster, its pools of nodes, and its nodes (each a VM that is a member)."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from facet.rest.fields import valid_name
from facet.rest.ids import uuid7
from facet.rest.owned import Owned
from facet.workloads.models import VM
from tenants.models import Project, Tenant

CLUSTER_KIND = "cluster"  # of operations and events about a cluster, and of the wakeup that looks after it


class ClusterPhase(models.TextChoices):
    """
    pending -> building -> ready <-> updating
       any of these -> failed (a person decides: delete, or a new spec)
       any of these, failed too -> deleting -> (deleted_at)
    """

    PENDING = "pending"
    BUILDING = "building"
    READY = "ready"
    UPDATING = "updating"
    FAILED = "failed"
    DELETING = "deleting"


TRANSITIONS: dict[str, frozenset[str]] = {
    ClusterPhase.PENDING: frozenset({ClusterPhase.BUILDING, ClusterPhase.FAILED, ClusterPhase.DELETING}),
    ClusterPhase.BUILDING: frozenset({ClusterPhase.READY, ClusterPhase.FAILED, ClusterPhase.DELETING}),
    ClusterPhase.READY: frozenset({ClusterPhase.UPDATING, ClusterPhase.FAILED, ClusterPhase.DELETING}),
    ClusterPhase.UPDATING: frozenset({ClusterPhase.READY, ClusterPhase.FAILED, ClusterPhase.DELETING}),
    ClusterPhase.FAILED: frozenset({ClusterPhase.BUILDING, ClusterPhase.UPDATING, ClusterPhase.DELETING}),
    ClusterPhase.DELETING: frozenset(),
}


class Cluster(Owned, models.Model):
    """What a team asked for (spec), where its life is (phase), and what was seen of it (observed)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT, related_name="clusters")
    name = models.CharField(max_length=63, validators=[valid_name])
    framework = models.CharField(max_length=32, default="kubernetes")
    version = models.CharField(max_length=32)
    zone_ids = ArrayField(models.UUIDField(), help_text="zones of one site that its nodes may stand in")
    control_planes = models.IntegerField(default=1)
    control_plane_flavor = models.CharField(max_length=63)
    control_plane_placement = models.JSONField(default=dict, help_text="rules for their hosts; see asking.py")
    pod_cidr = models.CharField(max_length=43)
    service_cidr = models.CharField(max_length=43)
    endpoint_host = models.GenericIPAddressField()
    endpoint_port = models.IntegerField(default=6443)
    secrets_sealed = models.BinaryField(help_text="CAs and keys, sealed for cluster:<id>")
    token_sealed = models.BinaryField(help_text="the bootstrap token, sealed for cluster:<id>")
    phase = models.CharField(max_length=16, choices=ClusterPhase, default=ClusterPhase.PENDING)
    reason = models.JSONField(null=True)
    broken_rules = models.JSONField(default=list, help_text="group, host and nodes that share it; see witness.py")
    initialized_at = models.DateTimeField(null=True, help_text="when its API first answered; never unset")
    addons_at = models.DateTimeField(null=True, help_text="when its add-ons were applied")
    simulated = models.BooleanField(default=False)
    observed_version = models.CharField(max_length=64, blank=True, default="")
    observed_at = models.DateTimeField(null=True)
    generation = models.BigIntegerField(default=1)
    observed_generation = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    delete_asked_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=Q(deleted_at=None),
                name="cluster_name_in_project",
                violation_error_message="A cluster of this name exists in the project.",
            )
        ]


class NodePool(Owned, models.Model):
    """Workers of one shape."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="node_pools")
    name = models.CharField(max_length=63, validators=[valid_name])
    size = models.IntegerField()
    flavor = models.CharField(max_length=63)
    labels = models.JSONField(default=dict)
    taints = models.JSONField(default=list)
    placement = models.JSONField(default=dict, help_text="rules for their hosts; see asking.py")
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "name"],
                name="pool_name_in_cluster",
                violation_error_message="The cluster has this pool.",
            )
        ]


class NodeRole(models.TextChoices):
    CONTROL_PLANE = "control-plane"
    WORKER = "worker"


class NodePhase(models.TextChoices):
    """pending -> provisioning -> joining -> ready; from any -> removing -> gone; failed keeps its VM until deleted."""

    PENDING = "pending"
    PROVISIONING = "provisioning"
    JOINING = "joining"
    READY = "ready"
    NOT_READY = "not-ready"
    FAILED = "failed"
    REMOVING = "removing"
    GONE = "gone"


JOINED_PHASES = (NodePhase.READY, NodePhase.NOT_READY)
GONE_PHASES = (NodePhase.REMOVING, NodePhase.GONE)


class Node(Owned, models.Model):
    """A member of a cluster. `pool` null: a control plane."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="nodes")
    pool = models.ForeignKey(NodePool, models.PROTECT, null=True, related_name="nodes")
    vm = models.OneToOneField(VM, models.PROTECT, related_name="node")
    role = models.CharField(max_length=16, choices=NodeRole)
    name = models.CharField(max_length=63)
    phase = models.CharField(max_length=16, choices=NodePhase, default=NodePhase.PENDING)
    ready = models.BooleanField(default=False)
    reason = models.JSONField(null=True)
    drain_asked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    observed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "name"], condition=~Q(phase="gone"), name="node_name_in_cluster")
        ]
