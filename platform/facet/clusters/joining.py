"""Machines that boot and become nodes: the first control plane alone, the others one by one, workers in slices.

Whoever has been waited for longer than FACET_JOIN_TIMEOUT_S fails the cluster, with what its API and console say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from facet.clusters.frameworks.base import Boot, ClusterHealth, NotAnswering
from facet.operations import services as operations
from facet.operations.engine import Again, Outcome
from facet.workloads import machines
from facet.workloads.models import VmPhase
from infra.drivers import base
from infra.models import Addon

from . import facts
from .building import Stop
from .models import CLUSTER_KIND, GONE_PHASES, JOINED_PHASES, Cluster, Node, NodePhase
from .observing import write_health
from .scene import LATER_S, SOON_S, Scene

ADDON_S = 10.0
CONSOLE_LINES = 10
CONSOLE_WIDTH = 300
TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")  # what kubeadm prints for whoever joins by hand
NO_CNI = "The catalogue has no CNI add-on, and without one no node is Ready. Import it: facet addon import."


def first_control_plane(scene: Scene) -> Outcome | None:
    """The one that begins the cluster boots alone; that its API answered is recorded once and for ever."""
    if scene.cluster.initialized_at is not None:
        return None
    first = scene.control_planes[0]
    if _ready_to_boot(scene, first):
        _boot(scene, [first], Boot.INIT)
    health = scene.health()
    if not health.answers:
        give_up_on(scene, [first], {first.name: health.sentence})
        scene.wait("booting", f"{first.name} boots, and begins the cluster. {health.sentence}")
        return Again(scene.pace_s)
    now = timezone.now()
    with scene.turn.transaction():
        Cluster.objects.filter(pk=scene.cluster.pk, initialized_at=None).update(initialized_at=now)
        write_health(scene, health)
    scene.cluster.initialized_at = now
    return None


def _ready_to_boot(scene: Scene, node: Node) -> bool:
    return node.vm.phase == VmPhase.BUILT and node.vm_id not in scene.tasks.running


def _boot(scene: Scene, nodes: Sequence[Node], boot: Boot) -> None:
    """Boot data rendered now, given, forgotten; then power."""
    texts = {
        node.vm_id: scene.framework.user_data(scene.facts, facts.of_node(node), scene.prepared, boot).user_data
        for node in nodes
    }
    machines.boot(scene.turn, scene.driver, texts)
    with scene.turn.transaction():
        booted = Node.objects.filter(pk__in=[node.pk for node in nodes], vm__phase=VmPhase.RUNNING)
        booted.exclude(phase__in=GONE_PHASES).update(phase=NodePhase.JOINING)


def add_ons(scene: Scene) -> Outcome | None:
    """A CNI before anything else: no node is Ready without one."""
    if scene.cluster.addons_at is not None:
        return None
    with scene.turn.reading():
        addon = Addon.objects.filter(kind="cni").order_by("-created_at").first()
    if addon is None:
        look(scene)
        scene.wait("no_cni", NO_CNI)
        return Again(ADDON_S)
    scene.turn.renew()
    scene.framework.install(scene.facts, scene.prepared.secrets, addon.manifest)
    now = timezone.now()
    with scene.turn.transaction():
        Cluster.objects.filter(pk=scene.cluster.pk).update(addons_at=now)
    scene.cluster.addons_at = now
    return None


def further_control_planes(scene: Scene) -> Outcome | None:
    """One at a time: each must be a member before the next is powered on."""
    health: ClusterHealth | None = None
    for plane in scene.control_planes:
        if plane.phase in JOINED_PHASES and plane.vm.phase == VmPhase.RUNNING:
            continue
        if plane.vm.phase == VmPhase.BUILT:
            if _ready_to_boot(scene, plane):
                _admit(scene)
                _boot(scene, [plane], Boot.JOIN)
            return Again(SOON_S)
        health = health or look(scene)
        if plane.name not in {node.name for node in health.nodes}:
            give_up_on(scene, [plane], {})
            _admit(scene)  # its join may be late: the token lives on
            return Again(scene.pace_s)
    return None


def _admit(scene: Scene) -> None:
    scene.turn.renew()
    scene.framework.admit(scene.facts, scene.prepared)


def workers(scene: Scene) -> Outcome | None:
    """Whatever is built boots, a slice at a time; the token is renewed while a join is pending."""
    built = [node for node in scene.workers if _ready_to_boot(scene, node)]
    built = built[: machines.room(scene.turn, scene.site, len(built))] if built else built
    joining = [n for n in scene.workers if n.vm.phase == VmPhase.RUNNING and n.phase not in JOINED_PHASES]
    if built or joining:
        _admit(scene)
    if built:
        _boot(scene, built, Boot.JOIN)
    return None


def all_ready(scene: Scene) -> Outcome | None:
    """Every wanted node is in the cluster and Ready, by the cluster's own word."""
    health = look(scene)
    ready = {node.name for node in health.nodes if node.ready}
    late = [node for node in scene.wanted if node.name not in ready]
    if not late:
        return None
    give_up_on(scene, late, {node.name: node.reason for node in health.nodes})
    names = ", ".join(node.name for node in late[:3])
    sentence = f"{len(late)} of {len(scene.wanted)} nodes are not Ready: {names}."
    scene.wait(health.code or "nodes_joining", sentence)
    return Again(scene.pace_s)


def look(scene: Scene) -> ClusterHealth:
    """How the cluster is, written down. Raises NotAnswering."""
    health = scene.health()
    if not health.answers:
        raise NotAnswering(health.code, health.sentence)
    with scene.turn.transaction():
        write_health(scene, health)
    return health


# --- patience ------------------------------------------------------------------------------------------------------


def give_up_on(scene: Scene, waited_for: Sequence[Node], said: Mapping[str, str]) -> None:
    """Raises Stop once one of these has been waited for too long. `said`: what the cluster says of a node, by name."""
    for node in waited_for:
        since = _since(scene, node)
        if since is None or not _too_long(scene, since):
            continue
        why = said.get(node.name) or "It has not joined."
        sentence = f"{node.name} has not become Ready in {settings.FACET_JOIN_TIMEOUT_S:.0f} s. {why}"
        raise _timed_out(scene, "join_timeout", sentence, node)


def silent(scene: Scene, sentence: str) -> Outcome:
    """The cluster's API does not answer, or refuses. Raises Stop once it has been so for too long."""
    since = scene.wait_since("not_answering", sentence)
    if _too_long(scene, since):
        long = f"The cluster has not answered for {settings.FACET_JOIN_TIMEOUT_S:.0f} s. {sentence}"
        raise _timed_out(scene, "api_timeout", long, scene.control_planes[0])
    return Again(LATER_S)


def _since(scene: Scene, node: Node) -> datetime | None:
    """Since when a node could have become Ready; None for one that has not booted, or was Ready at the last look."""
    if node.vm.booted_at is None or node.vm.phase != VmPhase.RUNNING or node.ready:
        return None
    return max(at for at in (node.vm.booted_at, node.observed_at, scene.cluster.addons_at) if at is not None)


def _too_long(scene: Scene, since: datetime) -> bool:
    """An operation that was asked for later has its own patience; where none is open, nobody waits."""
    limit = timezone.now() - timedelta(seconds=settings.FACET_JOIN_TIMEOUT_S)
    if since > limit:
        return False
    with scene.turn.reading():
        return operations.open_ones(CLUSTER_KIND, scene.cluster.id).filter(created_at__lte=limit).exists()


def _timed_out(scene: Scene, code: str, sentence: str, node: Node) -> Stop:
    console = _console(scene, node)
    if console:
        sentence = f"{sentence} Its console ends: {console[-1]}"
    action = "Look at its console, then ask again, or delete the cluster."
    return Stop({"code": code, "sentence": sentence, "action": action}, node=node.name, console=console)


def _console(scene: Scene, node: Node) -> list[str]:
    scene.turn.renew()
    try:
        return console_tail(scene.driver.console_log(node.vm_id))
    except base.DriverError:
        return []  # the cause is told all the same


def console_tail(text: str) -> list[str]:
    """The last lines of a machine's console. They are the guest's, and may hold anything: what joins is struck out."""
    lines = [line for line in text.splitlines() if line.strip()][-CONSOLE_LINES:]
    return [TOKEN.sub("...", "".join(c if c.isprintable() else " " for c in line))[:CONSOLE_WIDTH] for line in lines]
