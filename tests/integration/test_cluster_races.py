"""Whoever comes between two lines of a pass, another worker, a user, the site: nothing is lost, doubled or left."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from facet.clusters import building, converging, services
from facet.clusters.models import Cluster, Node, NodePhase
from facet.clusters.scene import Scene
from facet.operations import engine, wakeups
from facet.operations import services as operations
from facet.operations.models import Inflight, Operation, Wakeup
from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict, NotFound
from facet.workloads import watching
from facet.workloads.models import VM, ProjectFolder
from infra import looks
from infra.drivers import factory
from infra.models import Site, Zone
from scheduler.models import ResourcePool
from tenants import isolation
from tests import ground, work
from tests.factories import as_system

from .test_clusters import at_site, held
from .test_joining import lose, nodes, opened, resize


@pytest.fixture
def two_zones(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def deleted(land, asked):
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert at_site(land) == []


def shown(land, asked):
    return land.editor.get(f"clusters/{asked['cluster']['id']}").body


def wait_for(true, patience_s=10.0):
    """Without doing any work meanwhile."""
    pause = threading.Event()
    for _ in range(int(patience_s / 0.05)):
        if true():
            return
        pause.wait(0.05)
    raise AssertionError("it never came")


def complete_look(land):
    """What the watch process or a sync does, at this very moment, while nobody works."""
    with as_system():
        site = Site.objects.get()
    look = looks.begin(site.id, as_system)
    driver = factory.connect(land.site.connection)
    try:
        looks.complete(site, look, driver.check(), driver.inventory(), as_system)
    finally:
        driver.close()


def in_hand(land):
    """A pass over the only cluster, stopped just after it has read its rows."""
    with as_system():
        Wakeup.objects.exclude(kind="cluster").update(due_at=F("due_at") + timezone.timedelta(hours=1))
        Wakeup.objects.filter(kind="cluster").update(due_at=timezone.now())
    lease = wakeups.take()
    assert lease is not None
    assert lease.kind == "cluster"
    turn = engine.Turn(lease, engine.wiring().context)
    return Scene.read(turn)


def let_go(scene):
    wakeups.sleep(scene.turn.lease, 0.0)


# --- the site and its watch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["delete", "scale"])
def test_what_we_remove_ourselves_is_not_taken_for_lost(land, how):
    """Nine machines go at once, and the site is looked at before the pass has seen them gone."""
    asked = land.cluster(node_pools=[{"name": "workers", "size": 9}])
    work.succeed(land.editor, asked)
    land.site.by_hand.hand("latency", destroy=0.5)
    receipt = land.editor.delete(f"clusters/{asked['cluster']['id']}") if how == "delete" else resize(land, asked, 0)
    left = [] if how == "delete" else [node["name"] for node in nodes(land, asked, "control-plane")]
    work.until(lambda: Inflight.objects.filter(doing="destroy").count() >= 9)
    wait_for(lambda: at_site(land) == left)
    complete_look(land)
    with as_system():
        assert not Site.objects.get().held_back
    assert land.editor.get("events?verb=vm.missing")["items"] == []
    work.succeed(land.editor, receipt)
    if how == "scale":
        deleted(land, asked)


def test_another_sites_vm_with_the_same_key_is_not_ours(land):
    asked = land.cluster(node_pools=[])
    work.succeed(land.editor, asked)
    driver = factory.connect(land.site.connection)
    try:
        copies = [vm for vm in driver.inventory().vms if vm.witness]
    finally:
        driver.close()
    with as_system():
        before = list(VM.objects.values_list("power", "address", "seen_at"))
        VM.objects.update(missing_at=timezone.now())
    watching.observe(as_system, uuid4(), copies, complete=False)
    with as_system():
        assert list(VM.objects.values_list("power", "address", "seen_at")) == before
        assert VM.objects.filter(missing_at=None).count() == 0
    deleted(land, asked)


def test_a_vm_under_a_new_ref_is_known_by_its_key(land):
    """A vCenter that was restored gives other refs."""
    asked = land.cluster(node_pools=[])
    work.succeed(land.editor, asked)
    with as_system():
        ref = VM.objects.get().external_ref
        VM.objects.update(external_ref="vm-before")
    complete_look(land)
    with as_system():
        vm = VM.objects.get()
    assert (vm.external_ref, vm.missing_at) == (ref, None)
    deleted(land, asked)


def test_a_machine_that_is_gone_when_it_should_boot_is_looked_for_and_made_anew(land):
    asked = land.cluster()
    land.site.by_hand.inject("power", "down")  # so that everything is built, and nothing booted yet
    with as_system():
        lost = Node.objects.filter(role="control-plane").get()
    work.until(lambda: lost.name in at_site(land))
    with as_system():
        assert set(Node.objects.values_list("phase", flat=True)) == {"provisioning"}
    land.site.by_hand.delete_vm(lost.vm_id)
    work.succeed(land.editor, asked)
    assert len(at_site(land)) == held()["allocations"] == 4
    deleted(land, asked)


def test_a_pool_that_does_not_stand_yet_is_the_reason(land):
    with as_system():
        ResourcePool.objects.update(refs={})
    asked = land.cluster()
    work.until(lambda: (shown(land, asked)["reason"] or {}).get("code") == "pool_not_ready")
    assert at_site(land) == []
    land.sync()
    work.succeed(land.editor, asked)
    deleted(land, asked)


def test_a_late_clone_of_a_deleted_cluster_is_reaped(land):
    """The worker is paused between the site's answer and its own record, and loses its turn; the cluster is deleted."""
    empty = held()
    land.site.by_hand.hand("latency", clone=4.0)
    land.site.by_hand.inject("clone", "hang", after=True, seconds=2.0)
    asked = land.cluster(node_pools=[{"name": "workers", "size": 2}])
    engine.take_next()  # pending -> building
    paused = threading.Thread(target=_one_pass)
    paused.start()
    wait_for(lambda: land.site.by_hand.hand("calls")["calls"].get("clone"))
    with as_system():
        stolen = Wakeup.objects.filter(kind="cluster").update(turn=F("turn") + 1_000_000, lease_until=None)
        assert stolen == 1
    paused.join(20)
    assert not paused.is_alive()
    with as_system():
        assert Inflight.objects.count() == 0  # nobody knows the tasks
        assert set(VM.objects.values_list("phase", "external_ref")) == {("cloning", None)}
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert held() == empty
    assert at_site(land) == []
    wait_for(lambda: len(at_site(land)) == 3)  # and here they are
    land.sync()
    work.until(lambda: at_site(land) == [])
    work.until(lambda: not Inflight.objects.exists())
    reaped = land.editor.get("events?verb=vm.reaped")["items"]
    assert len({event["target"]["id"] for event in reaped}) == 3
    with as_system():
        assert set(ProjectFolder.objects.values_list("ref", flat=True)) == {""}
    assert held() == empty


def _one_pass():
    try:
        engine.take_next()
    finally:
        connections.close_all()


def test_an_orphan_that_the_site_keeps_is_not_asked_for_every_second(land):
    asked = land.cluster(node_pools=[])
    work.succeed(land.editor, asked)
    with as_system():
        VM.objects.update(deleted_at=timezone.now())  # as if it had come back after its end
    land.site.by_hand.inject("destroy", "error", times=-1, code="no_permission", reason="You may not.")
    land.sync()
    work.until(lambda: Wakeup.objects.filter(kind="reap", due_at__gt=timezone.now() + timezone.timedelta(minutes=2)))
    assert len(at_site(land)) == 1


def test_a_folder_that_goes_under_our_hands_is_made_anew(land):
    asked = land.cluster()
    with as_system():
        name = Node.objects.filter(role="worker").first().name
    land.site.by_hand.inject("clone", "error", match=name, code="not_found", reason="There is no such folder.")
    work.succeed(land.editor, asked)
    deleted(land, asked)


def test_one_cluster_begins_where_another_of_the_project_ends(land):
    """Two workers: one takes the project's empty folder away while the other fills it."""
    empty = held()
    stop = threading.Event()

    def worker():
        try:
            while not stop.is_set():
                if not engine.take_next():
                    stop.wait(0.01)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=worker) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        last = land.cluster("c0", node_pools=[])
        for number in range(1, 6):
            work.succeed(land.editor, last)
            going = land.editor.delete(f"clusters/{last['cluster']['id']}")
            last = land.cluster(f"c{number}", node_pools=[])
            work.succeed(land.editor, going)
        work.succeed(land.editor, last)
        work.succeed(land.editor, land.editor.delete(f"clusters/{last['cluster']['id']}"))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert at_site(land) == []
    assert held() == empty


# --- users ---------------------------------------------------------------------------------------------------------


def test_a_delete_that_comes_as_the_cluster_goes_begins_nothing(land):
    asked = land.cluster(node_pools=[])
    with as_system():
        read_before = Cluster.objects.get()
    deleted(land, asked)
    with pytest.raises(NotFound), as_system():
        services.delete_cluster(cluster=read_before, by=SYSTEM)
    with as_system():
        assert not Operation.objects.filter(ended_at=None).exists()


def test_if_match_lets_one_of_many_resize(land):
    asked = land.cluster()
    work.succeed(land.editor, asked)
    pool = asked["cluster"]["node_pools"][0]["id"]
    tag = land.editor.get(f"node-pools/{pool}").headers["ETag"]

    def patch(size):
        try:
            return land.editor.patch(f"node-pools/{pool}", {"size": size}, If_Match=tag).status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(threads.map(patch, range(4, 10)))
    assert statuses == [202] + [412] * 5
    with as_system():
        assert Node.objects.filter(role="worker").count() == Cluster.objects.get().node_pools.get().size
    deleted(land, asked)


def test_a_cancel_that_comes_as_the_scale_ends_changes_nothing(land):
    asked = land.cluster()
    work.succeed(land.editor, asked)
    receipt = resize(land, asked, 4)
    with as_system():
        read_before = Operation.objects.get(pk=receipt["operation"]["id"])
    work.succeed(land.editor, receipt)
    before = shown(land, asked)
    with pytest.raises(Conflict, match="just ended"), as_system():
        operations.cancel(read_before, by=SYSTEM, cancellers=engine.wiring().CANCELLERS)
    assert shown(land, asked) == before
    deleted(land, asked)


def test_a_scale_that_is_cancelled_goes_back(land):
    asked = land.cluster()
    work.succeed(land.editor, asked)
    receipt = resize(land, asked, 6)
    scene = in_hand(land)  # a pass that has read the larger size
    cancelled = land.editor.post(f"operations/{receipt['operation']['id']}/cancel")
    assert (cancelled.status, cancelled["phase"]) == (202, "cancelled")
    assert converging.converge(scene) is not None
    let_go(scene)
    assert shown(land, asked)["phase"] == "updating"  # not what was asked for last
    work.until(lambda: shown(land, asked)["phase"] == "ready")
    assert len(nodes(land, asked)) == 3
    assert len(at_site(land)) == held()["allocations"] == 4
    deleted(land, asked)


def test_cancels_and_passes_never_wait_for_each_other_in_a_ring(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 0}])
    work.succeed(land.editor, asked)
    stop = threading.Event()

    def worker():
        try:
            while not stop.is_set():
                with as_system():
                    Wakeup.objects.filter(kind="cluster", lease_until=None).update(due_at=timezone.now())
                engine.take_next()
        finally:
            connections.close_all()

    thread = threading.Thread(target=worker)
    thread.start()
    try:
        for size in (1, 2, 1, 2, 1, 2):
            receipt = resize(land, asked, size)
            assert receipt.status == 202, receipt
            answer = land.editor.post(f"operations/{receipt['operation']['id']}/cancel")
            assert answer.status in (202, 409), answer
    finally:
        stop.set()
        thread.join(30)
    work.until(lambda: shown(land, asked)["phase"] == "ready")
    with as_system():
        assert not Wakeup.objects.filter(last_error__contains="deadlock").exists()
    deleted(land, asked)


def test_a_lost_node_that_a_user_has_just_asked_to_go_is_not_made_anew(land):
    asked = land.cluster()
    work.succeed(land.editor, asked)
    with as_system():
        newest = Node.objects.filter(role="worker").order_by("-created_at", "-id").first()
    land.site.by_hand.delete_vm(newest.vm_id)
    complete_look(land)
    scene = in_hand(land)
    receipt = resize(land, asked, 2)
    building.lost_machines(scene)
    with as_system():
        newest.refresh_from_db()
        assert newest.phase == NodePhase.REMOVING
    let_go(scene)
    work.succeed(land.editor, receipt)
    assert newest.name not in [node["name"] for node in nodes(land, asked)]
    deleted(land, asked)


def test_a_pass_does_not_fail_what_was_asked_for_after_it_had_looked(land):
    asked = land.cluster()
    work.succeed(land.editor, asked)
    resize(land, asked, 4)
    with as_system():
        VM.objects.filter(node__role="worker", phase="pending").update(phase="failed")
    scene = in_hand(land)
    newer = resize(land, asked, 4)  # asked anew: what had failed is tried again
    assert converging.converge(scene) == engine.Again(0.0)
    let_go(scene)
    work.succeed(land.editor, newer)
    deleted(land, asked)


def test_a_project_is_deleted_or_a_cluster_made_in_it_and_never_both(land):
    def delete():
        try:
            return land.office.tenant_admin.delete(land.project).status
        finally:
            connections.close_all()

    def ask(number):
        try:
            return land.cluster(f"c{number}", node_pools=[]).status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        asks = [threads.submit(ask, number) for number in range(3)]
        gone = threads.submit(delete)
        statuses = [one.result() for one in asks]
    with as_system():
        made = Cluster.objects.count()
    assert statuses.count(202) == made
    assert (gone.result() in (200, 204)) == (made == 0)
    assert set(statuses) <= {202, 403, 404}, statuses


# --- draining ------------------------------------------------------------------------------------------------------


def test_pods_that_may_not_leave_are_the_reason_and_a_larger_size_is_still_possible(land, tmp_path):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    way_in = opened(land, asked, tmp_path)
    held_by_a_budget(way_in, nodes(land, asked)[0]["name"])
    receipt = resize(land, asked, 0)
    work.until(lambda: (shown(land, asked)["reason"] or {}).get("code") == "draining")
    reason = shown(land, asked)["reason"]["sentence"]
    assert "default/stays" in reason
    assert "disruption budget" in reason
    refused = land.editor.post(f"operations/{receipt['operation']['id']}/cancel")
    assert (refused.status, refused["code"]) == (409, "not_cancellable")
    receipt = resize(land, asked, 1)
    assert receipt.status == 202  # the new one comes while the old one still waits for its pods
    work.until(lambda: [n["phase"] for n in nodes(land, asked)].count("ready") == 1, what=lambda: nodes(land, asked))
    way_in("/apis/policy/v1/namespaces/default/poddisruptionbudgets/stays", "DELETE")
    work.succeed(land.editor, receipt)
    assert len(nodes(land, asked)) == 1
    deleted(land, asked)


def held_by_a_budget(way_in, node):
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stays", "labels": {"app": "stays"}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example.org/stays:1"}]},
    }  # fmt: skip
    budget = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "stays"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "stays"}}},
    }  # fmt: skip
    way_in("/api/v1/namespaces/default/pods", "POST", json=pod)
    way_in("/apis/policy/v1/namespaces/default/poddisruptionbudgets", "POST", json=budget)


@pytest.mark.parametrize("fate", ["gone", "off"])
def test_a_node_without_a_machine_that_runs_goes_without_being_drained(land, tmp_path, fate):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    (worker,) = nodes(land, asked)
    held_by_a_budget(opened(land, asked, tmp_path), worker["name"])
    if fate == "gone":
        lose(land, worker["name"])
    else:
        land.site.by_hand.power_off(UUID(worker["vm"]["id"]))
        land.sync()
    work.succeed(land.editor, resize(land, asked, 0))
    assert nodes(land, asked) == []
    deleted(land, asked)


# --- zones ---------------------------------------------------------------------------------------------------------


def test_a_cluster_of_drained_zones_shrinks_and_does_not_grow(land):
    asked = land.cluster()
    work.succeed(land.editor, asked)
    with as_system():
        Zone.objects.update(phase="draining")
    refused = resize(land, asked, 4)
    assert (refused.status, refused["code"]) == (409, "zone_not_active")
    work.succeed(land.editor, resize(land, asked, 3))
    work.succeed(land.editor, resize(land, asked, 1))
    assert len(nodes(land, asked)) == 1
    deleted(land, asked)


def test_of_two_zones_the_one_that_is_open_is_used(two_zones):
    land = two_zones
    with as_system():
        Zone.objects.filter(name="az1").update(phase="draining")
    asked = land.cluster(zones=land.zones)
    assert asked.status == 202, asked
    assert asked["cluster"]["zones"] == land.zones
    work.succeed(land.editor, asked)
    placed = land.editor.get(f"clusters/{asked['cluster']['id']}/nodes")["items"]
    assert {node["zone"] for node in placed} == {"az2"}
    with as_system():
        Zone.objects.filter(name="az2").update(phase="disabled")
    none = land.cluster("second", zones=land.zones)
    assert (none.status, none["code"]) == (409, "zone_not_active")
    deleted(land, asked)


# --- what is told --------------------------------------------------------------------------------------------------


def test_an_api_that_hangs_is_waited_for_with_a_bound(land):
    """It takes connections and says nothing."""
    asked = land.cluster(node_pools=[])
    work.succeed(land.editor, asked)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        with as_system():
            Cluster.objects.update(endpoint_host="127.0.0.1", endpoint_port=mute.getsockname()[1])
        refused = land.editor.post(f"clusters/{asked['cluster']['id']}/kubeconfig")
    assert (refused.status, refused["code"]) == (409, "not_ready")
    assert "in time" in refused["detail"]
    receipt = land.editor.delete(f"clusters/{asked['cluster']['id']}")
    no_more = land.editor.post(f"clusters/{asked['cluster']['id']}/kubeconfig")
    assert (no_more.status, no_more["code"]) == (409, "not_ready")
    assert "being deleted" in no_more["detail"]
    work.succeed(land.editor, receipt)


def test_the_trail_of_a_clusters_life_is_whole_for_its_tenant(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    land.editor.post(f"clusters/{asked['cluster']['id']}/kubeconfig")
    work.succeed(land.editor, resize(land, asked, 2))
    cancelled = resize(land, asked, 4)
    land.editor.post(f"operations/{cancelled['operation']['id']}/cancel")
    work.until(lambda: shown(land, asked)["phase"] == "ready")
    deleted(land, asked)
    events = land.office.viewer.get(f"events?target_id={asked['cluster']['id']}&page_size=200")["items"]
    assert [event["verb"] for event in events] == [
        "cluster.create", "cluster.create.succeeded", "cluster.kubeconfig", "cluster.scale", "cluster.scale.succeeded",
        "cluster.scale", "cluster.scale.cancelled", "cluster.delete", "cluster.delete.succeeded",
    ]  # fmt: skip
    first = next(event for event in events if event["verb"] == "cluster.scale")
    assert (first["before"], first["after"]) == ({"pool": "workers", "size": 1}, {"pool": "workers", "size": 2})
    assert {event["actor"]["name"] for event in events if "." not in event["verb"].removeprefix("cluster.")} == {
        "acme-editor"
    }


def test_progress_counts_what_was_asked_for_and_never_shrinks(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 5}])
    work.succeed(land.editor, asked)
    land.site.by_hand.hand("latency", destroy=0.3)
    seen = followed(land, resize(land, asked, 1))
    drains = [next((step for step in steps if step["name"] == "drain"), None) for steps in seen]
    totals = [step["total"] for step in drains if step is not None]
    assert set(totals) == {4}
    assert drains[-1]["done"] == 4
    counted = [step["done"] for step in drains if step is not None]
    assert counted == sorted(counted)
    seen = followed(land, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    machines = [step for steps in seen for step in steps if step["name"] == "machines"]
    assert {step["total"] for step in machines} == {2}
    assert [step["done"] for step in machines] == sorted(step["done"] for step in machines)


def followed(land, receipt):
    """Every state of an operation's steps until it has succeeded."""
    id, seen = receipt["operation"]["id"], []

    def look():
        operation = land.editor.get(f"operations/{id}").body
        if operation["steps"] and (not seen or seen[-1] != operation["steps"]):
            seen.append(operation["steps"])
        return operation["ended_at"]

    work.until(look)
    return seen


def test_a_list_of_clusters_takes_as_many_queries_as_one(land):
    def queries():
        with CaptureQueriesContext(connection) as caught:
            assert land.editor.get(f"{land.project}/clusters").status == 200
        return len(caught)

    land.cluster("one")
    few = queries()
    land.cluster("two")
    land.cluster("three")
    assert queries() == few


def test_a_pass_over_many_nodes_takes_no_query_for_each(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 2}])
    work.succeed(land.editor, asked)

    def queries():
        scene = in_hand(land)
        with as_system():
            Cluster.objects.update(phase="updating")
        scene.cluster.phase = "updating"
        with CaptureQueriesContext(connection) as caught:
            converging.converge(scene)
        let_go(scene)
        return len(caught)

    queries()  # the first look at an address is written down
    few = queries()
    work.succeed(land.editor, resize(land, asked, 9))
    queries()
    assert queries() == few
    deleted(land, asked)


def test_a_tenants_pass_sees_its_tenant_alone(land):
    asked = land.cluster(node_pools=[])
    scene = in_hand(land)
    with scene.turn.reading():
        assert Cluster.objects.count() == 1
    with isolation.context(isolation.of([uuid4()])):
        assert Cluster.objects.count() == 0
    let_go(scene)
    deleted(land, asked)
