"""Passes over networks: one stands at its site, under its VLAN and with its project's rules; or is gone from it.

Each pass looks again and puts right what was changed by hand. A network takes VMs (phase ready) only once it has rules.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone

from facet.operations import events
from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, Turn
from facet.operations.services import Step
from facet.operations.wakeups import wake
from facet.rest.access import SYSTEM
from facet.rest.problems import Problem
from infra import networks, outside, vlans
from infra.drivers import base
from infra.models import PhysicalNetwork
from tenants import quota

from ..models import Address, Firewall, Network, ObjectPhase
from . import firewall, services
from .scene import Scene

RETRY_S = 30.0
COMING = (ObjectPhase.PENDING, ObjectPhase.FAILED)
MEND = "Mend it at the site; Facet tries again."
MADE = Step("network", "The network stands at the site", "running")


def network(turn: Turn) -> Outcome:
    """One look at a network, and what it needs."""
    scene = Scene.read(turn)
    if scene.network.deleted_at is not None:
        return Done()
    if scene.site.held_back:
        return Again(RETRY_S)
    try:
        with outside.asking():
            return _go(scene) if scene.goes else _come(scene)
    except base.Refused as refused:
        return _refused(scene, refused)


# --- coming --------------------------------------------------------------------------------------------------------


def _come(scene: Scene) -> Outcome:
    with scene.turn.transaction():
        operations.report(services.KIND, scene.network.id, [MADE])
    scene.turn.renew()
    switch = _switch(scene)
    seen = scene.driver.ensure_network(scene.spec(switch))
    if not _stands(scene, switch, seen):
        return Again(0.0)
    scene.turn.renew()
    scene.driver.ensure_firewall(scene.network.id, scene.rules)
    return Again(settings.FACET_SYNC_S) if _ready(scene) else Again(0.0)


def _switch(scene: Scene) -> base.SwitchFacts:
    """The one that the zone names, or the only one. Raises Refused."""
    switches, name = scene.driver.switches(), scene.network.zone.switch
    found = [one for one in switches if name in ("", one.name, one.ref)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(one.name for one in switches)) or "none"
    sentence = f"Zone {scene.network.zone.name} names no one switch ({name!r}); the site has: {names}."
    raise base.Refused(sentence, code="no_switch")


def _stands(scene: Scene, switch: base.SwitchFacts, seen: base.NetworkFacts) -> bool:
    """Write down where it stands. One that was gone and is made anew is told."""
    was = scene.network
    with scene.turn.transaction():
        held = scene.same().select_for_update(no_key=True).first()
        if held is None or held.phase == ObjectPhase.DELETING:
            return False
        physical = networks.stands(zone=was.zone, seen=seen, host_refs=switch.host_refs)
        if held.ref and held.ref != seen.ref:
            PhysicalNetwork.objects.filter(pk=held.physical_id).exclude(pk=physical.pk).update(present=False)
            _tell(was, "network.remade", f"It was gone from the site; it is made anew under VLAN {was.vlan}.")
        applied = held.firewall_applied if held.ref == seen.ref else 0
        if (held.ref, held.physical_id, held.firewall_applied) != (seen.ref, physical.id, applied):
            scene.same().update(ref=seen.ref, physical=physical, firewall_applied=applied)
    return True


def _ready(scene: Scene) -> bool:
    """It has the rules as they were read; where others were asked for meanwhile, it is looked at again."""
    with scene.turn.transaction():
        held = scene.same().select_for_update(no_key=True).first()
        if held is None or held.phase == ObjectPhase.DELETING:
            return False
        changes: dict[str, Any] = {}
        if held.firewall_applied != scene.wanted:
            changes["firewall_applied"] = scene.wanted
        newest = Firewall.objects.filter(pk=held.project_id).values_list("generation", flat=True).first() or 0
        if newest == scene.wanted:
            ready = {"phase": ObjectPhase.READY, "reason": None, "failures": 0}
            changes |= {key: value for key, value in ready.items() if getattr(held, key) != value}
            operations.succeed(services.KIND, held.id, generation=held.generation)
        if changes:
            scene.same().update(**changes)
        if "firewall_applied" in changes:
            wake(firewall.KIND, held.project_id, tenant_id=held.tenant_id)
    return newest == scene.wanted


# --- refused -------------------------------------------------------------------------------------------------------


def _refused(scene: Scene, refused: base.Refused) -> Outcome:
    if refused.code == "vlan_taken" and scene.network.phase in COMING and not scene.network.ref:
        return _another_vlan(scene, refused)
    return _tell_refused(scene, refused)


def _another_vlan(scene: Scene, refused: base.Refused) -> Outcome:
    """Somebody uses the tag at the site: the next one of the zone's, and it is told. The site has nothing of ours."""
    was = scene.network
    try:
        with scene.turn.transaction():
            if scene.same().select_for_update(no_key=True).first() is None:
                return Again(0.0)
            tag = vlans.take(zone=was.zone, holder=was.id, above=was.vlan or 0)
            scene.same().update(vlan=tag)
            _tell(was, "network.vlan_skipped", f"{refused.reason} VLAN {tag} is taken instead.")
    except Problem:
        return _tell_refused(scene, refused)
    return Again(0.0)


def _tell_refused(scene: Scene, refused: base.Refused) -> Outcome:
    """It says why, whoever asked hears it, and it is tried again: what is mended at the site mends it."""
    was, reason = scene.network, outside.reason(refused, MEND)
    with scene.turn.transaction():
        held = scene.same().select_for_update(no_key=True).first()
        if held is None:
            return Again(0.0)
        phase = ObjectPhase.FAILED if held.phase in COMING else held.phase
        scene.same().update(phase=phase, reason=reason, failures=held.failures + 1)
        if (held.reason or {}).get("code") != refused.code:
            _tell(was, "network.failing", refused.reason)
        if not scene.goes:
            operations.fail(services.KIND, was.id, code=refused.code, detail=refused.reason)
    return Again(RETRY_S)


def _tell(network: Network, verb: str, message: str) -> None:
    events.record(
        verb, by=SYSTEM, kind=services.KIND, id=network.id, name=network.name, tenant_id=network.tenant_id,
        project_id=network.project_id, message=message,
    )  # fmt: skip


# --- going ---------------------------------------------------------------------------------------------------------


def _go(scene: Scene) -> Outcome:
    """Deleting always ends: once the site was seen without it, its VLAN is free for others."""
    was = scene.network
    with scene.turn.transaction():
        operations.report(services.KIND, was.id, [Step("network", "The network is removed", "running")])
    scene.turn.renew()
    scene.driver.ensure_no_network(was.id)
    with scene.turn.transaction():
        gone = scene.same().filter(phase=ObjectPhase.DELETING)
        if not gone.update(deleted_at=timezone.now(), vlan=None, reason=None):
            return Again(0.0)
        PhysicalNetwork.objects.filter(pk=was.physical_id).update(present=False)
        Address.objects.filter(network=was).delete()
        vlans.give_back(was.id)
        quota.take(tenant_id=was.tenant_id, project_id=was.project_id, amounts=[(was.zone_id, "networks", -1)])
        operations.succeed(services.KIND, was.id, generation=was.generation)
        wake(firewall.KIND, was.project_id, tenant_id=was.tenant_id)
    return Done()
