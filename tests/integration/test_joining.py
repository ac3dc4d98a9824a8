"""Nodes that never come, clusters that fall silent, control planes that are lost: a cause in the end, or healed."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from facet.clusters.joining import console_tail
from facet.clusters.models import Cluster, Node
from facet.operations.models import Inflight
from facet.workloads.models import VM
from tests import ground, work
from tests.factories import as_system

from .test_clusters import at_site, held

PATIENCE_S = 3.0


@pytest.fixture
def land(tmp_path, settings):
    settings.FACET_JOIN_TIMEOUT_S = PATIENCE_S
    with ground.simulated(tmp_path) as found:
        yield found


def deleted(land, asked):
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert at_site(land) == []


def nodes(land, asked, role="worker"):
    items = land.editor.get(f"clusters/{asked['cluster']['id']}/nodes?page_size=200")["items"]
    return sorted((node for node in items if node["role"] == role), key=lambda node: node["created_at"])


def resize(land, asked, size):
    return land.editor.patch(f"node-pools/{asked['cluster']['node_pools'][0]['id']}", {"size": size})


def lose(land, *names):
    """Delete these machines at the site, and look at it."""
    with as_system():
        keys = list(VM.objects.filter(name__in=names, deleted_at=None).values_list("id", flat=True))
    for key in keys:
        land.site.by_hand.delete_vm(key)
    land.sync()


def test_a_worker_whose_boot_failed_fails_the_cluster_with_its_console(land):
    """Somebody powers it on before it has its boot data: it never reads any."""
    empty = held()
    asked = land.cluster(node_pools=[{"name": "workers", "size": 2}])
    land.site.by_hand.inject("power", "down")  # so that everything is built, and nothing booted yet
    with as_system():
        broken = Node.objects.filter(role="worker").order_by("name").first()
    work.until(lambda: broken.name in at_site(land))
    land.site.by_hand.hand("power-vm", key=str(broken.vm_id), power="on")
    operation = work.done(land.editor, asked)
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "join_timeout"), operation
    assert operation["problem"]["node"] == broken.name
    assert broken.name in operation["problem"]["detail"]
    assert any("cloud-init" in line for line in operation["problem"]["console"]), operation["problem"]
    cluster = land.editor.get(f"clusters/{asked['cluster']['id']}")
    assert (cluster["phase"], cluster["reason"]["code"]) == ("failed", "join_timeout")
    assert cluster["node_pools"][0]["ready"] == 1
    deleted(land, asked)
    assert held() == empty


def test_a_first_control_plane_that_cannot_begin_fails_with_its_console(land):
    asked = land.cluster(node_pools=[])
    host, _, port = asked["cluster"]["endpoint"].partition(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))  # the address is somebody else's
        operation = work.done(land.editor, asked)
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "join_timeout"), operation
    assert "in use" in " ".join(operation["problem"]["console"])
    no_way_in = land.editor.post(f"clusters/{asked['cluster']['id']}/kubeconfig")
    assert (no_way_in.status, no_way_in["code"]) == (409, "not_ready")
    deleted(land, asked)


def test_a_cluster_that_failed_before_it_began_says_that_it_can_only_be_deleted(land):
    asked = land.cluster()
    with as_system():
        name = Node.objects.filter(role="control-plane").get().name
    land.site.by_hand.inject("clone", "error", match=name, code="no_space", reason="The datastore is full.")
    assert work.done(land.editor, asked)["phase"] == "failed"
    refused = resize(land, asked, 4)
    assert (refused.status, refused["code"]) == (409, "not_ready")
    assert "Delete it" in refused["detail"]
    deleted(land, asked)


def test_a_cluster_that_no_longer_answers_fails_what_is_asked_of_it(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    with as_system():
        row = Cluster.objects.get()
        silent = row.endpoint_host.rsplit(".", 1)[0] + ".251"  # nobody listens there
        Cluster.objects.update(endpoint_host=silent)
    operation = work.done(land.editor, resize(land, asked, 2))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "api_timeout"), operation
    with as_system():
        Cluster.objects.update(endpoint_host=row.endpoint_host)
    work.succeed(land.editor, resize(land, asked, 2))  # asked anew, it goes on
    deleted(land, asked)


def test_a_slow_node_of_an_old_cluster_has_its_own_patience(land, settings):
    """What was late before this was asked for is not late now: a scale does not fail for an old fault at once."""
    asked = land.cluster(node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    (worker,) = nodes(land, asked)
    with as_system():
        vm = VM.objects.get(name=worker["name"])
        VM.objects.update(booted_at="2020-01-01T00:00:00Z")
    land.site.by_hand.power_off(vm.id)
    land.sync()
    work.until(lambda: land.editor.get(f"clusters/{asked['cluster']['id']}")["reason"])
    shown = land.editor.get(f"clusters/{asked['cluster']['id']}")
    assert (shown["phase"], shown["reason"]["code"]) == ("ready", "machines_off")
    assert worker["name"] in shown["reason"]["sentence"]
    with as_system():
        Node.objects.update(observed_at="2020-01-01T00:00:00Z")
    work.succeed(land.editor, resize(land, asked, 2))  # it is powered on again on the way
    assert [node["phase"] for node in nodes(land, asked)] == ["ready", "ready"]
    deleted(land, asked)


@pytest.mark.parametrize(("planes", "lost"), [(1, 1), (3, 2)])
def test_a_majority_of_control_planes_that_is_gone_is_not_made_anew(land, planes, lost):
    asked = land.cluster(control_planes={"count": planes}, node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    lose(land, *[node["name"] for node in nodes(land, asked, "control-plane")][:lost])
    operation = work.done(land.editor, resize(land, asked, 2))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "control_planes_lost"), operation
    deleted(land, asked)


def test_a_lost_control_plane_joins_anew_and_begins_no_second_cluster(land, tmp_path):
    """The very first one, while the two others live."""
    asked = land.cluster(control_planes={"count": 3}, node_pools=[{"name": "workers", "size": 1}])
    work.succeed(land.editor, asked)
    way_in = opened(land, asked, tmp_path)
    before = {item["metadata"]["name"]: item["metadata"]["uid"] for item in way_in("/api/v1/nodes")["items"]}
    with as_system():
        first = Node.objects.filter(role="control-plane").order_by("created_at", "name").first()
    lose(land, first.name)
    work.succeed(land.editor, resize(land, asked, 2))
    after = {item["metadata"]["name"]: item["metadata"]["uid"] for item in way_in("/api/v1/nodes")["items"]}
    assert len(after) == 5
    assert {name for name, uid in before.items() if after[name] != uid} == {first.name}
    assert len(at_site(land)) == 5
    told = [e for e in land.editor.get("events?verb=node.rebuilt")["items"] if e["target"]["name"] == first.name]
    assert len(told) == 1
    deleted(land, asked)


def opened(land, asked, tmp_path):
    """A way into the cluster for its editor."""
    given = land.editor.post(f"clusters/{asked['cluster']['id']}/kubeconfig").body
    for name in ("certificate_authority_data", "client_certificate_data", "client_key_data"):
        (tmp_path / name).write_text(given[name])
    context = ssl.create_default_context(cafile=tmp_path / "certificate_authority_data")
    context.load_cert_chain(tmp_path / "client_certificate_data", tmp_path / "client_key_data")

    def ask(path, method="GET", **sent):
        answer = httpx.request(method, f"{given['server']}{path}", verify=context, timeout=10, **sent)
        assert answer.is_success, answer.text
        return answer.json()

    return ask


def test_a_site_that_is_away_is_the_reason_while_it_lasts(land):
    asked = land.cluster()
    land.site.by_hand.inject("folder", "down")
    work.until(lambda: land.editor.get(f"clusters/{asked['cluster']['id']}")["reason"])
    reason = land.editor.get(f"clusters/{asked['cluster']['id']}")["reason"]
    assert reason["code"] == "site_unreachable"
    assert land.site.connection.endpoint not in reason["sentence"]
    work.succeed(land.editor, asked)
    assert land.editor.get(f"clusters/{asked['cluster']['id']}")["reason"] is None
    deleted(land, asked)


def test_a_machine_whose_image_has_left_the_catalogue_is_a_cause(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 2}])
    work.succeed(land.editor, asked)
    image = land.it.get("images")["items"][0]["id"]
    assert land.it.delete(f"images/{image}").status == 204
    no_more = resize(land, asked, 3)
    assert (no_more.status, no_more["code"]) == (409, "no_image")
    lose(land, nodes(land, asked)[1]["name"])
    operation = work.done(land.editor, resize(land, asked, 2))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_image"), operation
    deleted(land, asked)


def test_a_console_is_shown_without_what_joins_and_without_what_does_not_print():
    text = "\n".join(
        [f"line {n}" for n in range(20)] + ["kubeadm join --token abcdef.0123456789abcdef", "a\x00b\x1b[1m", ""]
    )
    tail = console_tail(text)
    assert tail[-2:] == ["kubeadm join --token ...", "a b [1m"]
    assert len(tail) == 10
    assert console_tail("") == []


def test_a_failed_cluster_sees_the_end_of_what_it_had_begun(land):
    """Otherwise its clones would count against the site's budget for ever."""
    asked = land.cluster()
    with as_system():
        name = Node.objects.filter(role="control-plane").get().name
    land.site.by_hand.inject("clone", "error", match=name, code="no_space", reason="The datastore is full.")
    with land.site.by_hand.clones_take(1.0):
        assert work.done(land.editor, asked)["phase"] == "failed"
        assert inflight() > 0
        work.until(lambda: inflight() == 0)
    deleted(land, asked)


def inflight():
    with as_system():
        return Inflight.objects.count()
