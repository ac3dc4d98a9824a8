"""Clusters from request to gone, on a simulated site, by the passes of the real engine."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.db import connections

from facet.clusters.models import Cluster, ClusterPhase, Node
from facet.operations import engine
from facet.workloads.models import VM
from infra.drivers import factory
from infra.models import Datastore, Endpoint, Host
from scheduler.models import Allocation
from tenants.models import Quota
from tests import ground, work
from tests.factories import as_system


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def held():
    """Everything that somebody holds: rows, and the counters that must say the same."""
    with as_system():
        return {
            "vms": VM.objects.filter(deleted_at=None).count(),
            "allocations": Allocation.objects.filter(released=None).count(),
            "vcpu_on_hosts": sum(Host.objects.values_list("vcpu_claimed", flat=True)),
            "gib_on_datastores": sum(Datastore.objects.values_list("claimed_gib", flat=True)),
            "endpoints": Endpoint.objects.exclude(holder=None).count(),
            "quota": sum(Quota.objects.exclude(project=None).values_list("used", flat=True)),
        }


def at_site(land):
    """Names of the VMs of ours that the site shows, templates left out."""
    driver = factory.connect(land.site.connection)
    try:
        return sorted(vm.name for vm in driver.inventory().vms if vm.witness)
    finally:
        driver.close()


def test_a_cluster_comes_up_scales_and_goes(land):
    empty = held()
    asked = land.cluster()
    operation = work.succeed(land.editor, asked)
    assert [step["phase"] for step in operation["steps"]] == ["done"] * 5
    cluster = land.editor.get(f"clusters/{asked['cluster']['id']}")
    assert (cluster["phase"], cluster["reason"], cluster["simulated"]) == ("ready", None, True)
    assert cluster["control_planes"]["ready"] == 1
    assert cluster["node_pools"][0]["ready"] == 3
    assert held() | {"endpoints": 1, "vms": 4, "allocations": 4, "vcpu_on_hosts": 8, "gib_on_datastores": 80} == held()
    assert len(at_site(land)) == 4

    pool = cluster["node_pools"][0]["id"]
    work.succeed(land.editor, land.editor.patch(f"node-pools/{pool}", {"size": 5}))
    assert held()["allocations"] == len(at_site(land)) == 6
    before = set(at_site(land))
    work.succeed(land.editor, land.editor.patch(f"node-pools/{pool}", {"size": 1}))
    assert held()["allocations"] == len(at_site(land)) == 2
    assert set(at_site(land)) < before
    nodes = land.editor.get(f"clusters/{cluster['id']}/nodes")["items"]
    assert [node["phase"] for node in nodes] == ["ready", "ready"]

    work.succeed(land.editor, land.editor.delete(f"clusters/{cluster['id']}"))
    assert held() == empty
    assert at_site(land) == []
    assert land.editor.get(f"clusters/{cluster['id']}").status == 404


def test_three_control_planes_stand_on_different_hosts_and_join_alone(land):
    asked = land.cluster(control_planes={"count": 3}, zones=land.zones)
    work.succeed(land.editor, asked, patience_s=60)
    nodes = land.editor.get(f"clusters/{asked['cluster']['id']}/nodes")["items"]
    planes = [node for node in nodes if node["role"] == "control-plane"]
    assert len({node["host"] for node in planes}) == 3
    assert {node["zone"] for node in planes} == set(land.zones)
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert at_site(land) == []


def test_a_kubeconfig_is_for_its_caller_and_short(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 1}])
    way = f"clusters/{asked['cluster']['id']}/kubeconfig"
    early = land.editor.post(way)
    assert (early.status, early["code"]) == (409, "not_ready")
    work.succeed(land.editor, asked)
    given = land.editor.post(way, {"expires_in_s": 600})
    assert given.status == 200
    assert given["context"] == "shop-simulated"
    assert "BEGIN CERTIFICATE" in given["client_certificate_data"]
    assert land.editor.post(way, {"expires_in_s": 24 * 3600 + 1}).status == 422
    assert land.office.viewer.post(way).status == 200
    events = land.editor.get("events?page_size=500")["items"]
    assert [e["after"]["level"] for e in events if e["verb"] == "cluster.kubeconfig"] == ["editor", "viewer"]
    assert "PRIVATE KEY" not in str(events)


def test_boot_data_is_wiped_once_the_nodes_are_ready(land):
    asked = land.cluster()
    work.succeed(land.editor, asked)
    driver = factory.connect(land.site.connection)
    try:
        assert not any(vm.boot_data_present for vm in driver.inventory().vms)
    finally:
        driver.close()
    with as_system():
        row = Cluster.objects.get()
        assert b"PRIVATE" not in bytes(row.secrets_sealed)


def test_one_key_in_parallel_requests_makes_one_cluster(land):
    def ask(_):
        try:
            body = {"name": "shop", "zones": land.zones[:1]}
            return land.editor.post(f"{land.project}/clusters", body, Idempotency_Key="the same key")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(50)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer["cluster"]["id"] for answer in answers}) == 1
    with as_system():
        assert Cluster.objects.count() == 1
    assert held()["allocations"] == 1


def test_a_second_cluster_of_the_same_name_is_refused_and_holds_nothing(land):
    land.cluster()
    before = held()
    again = land.cluster()
    assert (again.status, again["code"]) == (409, "name_taken")
    assert held() == before


def test_a_dry_run_answers_and_holds_nothing(land):
    before = held()
    body = {"zones": land.zones[:1], "control_planes": {"count": 3}, "node_pools": [{"name": "workers", "size": 2}]}
    answer = land.office.viewer.post(f"{land.project}/placements", body)
    assert answer.status == 200
    assert answer["fits"] is True
    assert len(answer["placements"]) == 5
    planes = [one["host"] for one in answer["placements"] if one["role"] == "control_plane"]
    assert len(set(planes)) == 3
    no = land.editor.post(f"{land.project}/placements", body | {"node_pools": [{"name": "workers", "size": 200}]})
    assert (no.status, no["fits"]) == (200, False)
    assert no["limits"] or no["filters"]
    assert held() == before


def test_a_refusal_names_the_limit_and_holds_nothing(land):
    before = held()
    refused = land.cluster(node_pools=[{"name": "workers", "size": 200, "flavor": "xlarge"}])
    assert refused.status == 409, refused
    assert refused["code"] in ("no_room", "quota_exceeded", "pool_exceeded")
    assert refused.body.get("filters") or refused.body.get("limits")
    assert held() == before


def test_cancelling_a_create_deletes_it(land):
    empty = held()
    asked = land.cluster()
    engine.take_next()
    cancelled = land.editor.post(f"operations/{asked['operation']['id']}/cancel")
    assert (cancelled.status, cancelled["phase"]) == (202, "cancelled")
    work.until(lambda: held() == empty, what=held)
    assert at_site(land) == []


def test_delete_wins_over_a_build_at_every_stage(land):
    empty = held()
    for passes in range(0, 12, 2):
        asked = land.cluster(name=f"c{passes}")
        assert asked.status == 202, asked
        for _ in range(passes):
            engine.take_next()
        work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
        assert held() == empty
        assert at_site(land) == []


def test_a_machine_that_is_deleted_while_its_cluster_is_built_is_made_anew(land):
    asked = land.cluster()
    work.until(lambda: _booted() >= 1)
    with as_system():
        lost = Node.objects.filter(role="worker").order_by("created_at").first()
        work_key = lost.vm_id
    work.until(lambda: lost.name in at_site(land))
    land.site.by_hand.delete_vm(work_key)
    with as_system():
        VM.objects.filter(pk=work_key).update(
            seen_at="2020-01-01T00:00:00Z"
        )  # as if it had been seen before the listing
    land.sync()
    work.succeed(land.editor, asked)
    assert len(at_site(land)) == held()["allocations"] == 4


def _booted():
    with as_system():
        return VM.objects.filter(phase="running").count()


def test_a_failed_cluster_keeps_what_it_holds_until_it_is_deleted(land):
    empty = held()
    asked = land.cluster()
    with as_system():
        name = Node.objects.filter(role="worker").first().name
    for _ in range(3):
        land.site.by_hand.fail_clone(name)
    operation = work.done(land.editor, asked)
    assert operation["phase"] == "failed", operation
    assert operation["problem"]["detail"]
    cluster = land.editor.get(f"clusters/{asked['cluster']['id']}")
    assert (cluster["phase"], cluster["reason"]["code"]) == (ClusterPhase.FAILED, operation["problem"]["code"])
    assert held()["allocations"] == 4
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert held() == empty


def test_the_api_of_a_cluster_answers_its_own_certificate(land, tmp_path):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    given = land.editor.post(f"clusters/{asked['cluster']['id']}/kubeconfig").body
    for name in ("certificate_authority_data", "client_certificate_data", "client_key_data"):
        (tmp_path / name).write_text(given[name])
    context = ssl.create_default_context(cafile=tmp_path / "certificate_authority_data")
    context.load_cert_chain(tmp_path / "client_certificate_data", tmp_path / "client_key_data")
    nodes = httpx.get(f"{given['server']}/api/v1/nodes", verify=context, timeout=10).json()["items"]
    assert len(nodes) == 2


def test_an_image_goes_from_the_catalogue_once_nothing_is_being_made_of_it(land):
    asked = land.cluster(node_pools=[])
    image = land.it.get("images")["items"][0]["id"]
    refused = land.it.delete(f"images/{image}")
    assert (refused.status, refused["code"]) == (409, "in_use")
    work.succeed(land.editor, asked)
    assert land.it.delete(f"images/{image}").status == 204
    assert land.editor.get(f"clusters/{asked['cluster']['id']}")["phase"] == "ready"
    assert land.cluster("second").status == 422
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert at_site(land) == []
