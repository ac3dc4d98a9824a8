"""Whoever is killed, flushed or paused: exactly what was asked for stands, and exactly that is held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import stack, town

SIZE = 20


@pytest.fixture(scope="module")
def acme(tmp_path_factory):
    with town.carved(tmp_path_factory.mktemp("crash"), FACET_SITE_BUDGET="4") as found:  # so that a build takes rounds
        yield found


def kill_and_flush(acme):
    """kill -9 of every worker, a flush of Valkey, kill -9 of the web process; the supervisor restarts them."""
    assert acme.world.kill("worker")
    acme.world.flush_redis()
    assert acme.world.kill("web")


def test_a_build_survives_kills_and_a_flush(acme):
    empty = acme.held()
    acme.hand("latency", clone=1.0, reconfigure=0.2, power_on=0.2)
    try:
        asked = acme.ask(workers=SIZE - 1)
        assert asked.status_code == 202, asked.text
        made = asked.json()
        stack.until(lambda: 3 <= len(acme.at_site()) < SIZE, patience_s=30, what=acme.world.tails)
        kill_and_flush(acme)
        ended = acme.ended(made["operation"]["id"])
    finally:
        acme.hand("latency", clone=0, reconfigure=0, power_on=0)
    assert ended["phase"] == "succeeded", ended
    vms = acme.at_site()
    assert len(vms) == len({vm.key for vm in vms}) == len({vm.name for vm in vms}) == SIZE
    held = acme.held()
    assert held["vms"] == held["allocations"] == SIZE
    assert held["vcpu_on_hosts"] == held["vcpu"] == 2 * SIZE
    assert held["inflight"] == 0
    assert acme.delete(made["cluster"]["id"])["phase"] == "succeeded"
    assert acme.held() == empty


def test_a_delete_survives_kills_and_a_flush(acme):
    empty = acme.held()
    made = acme.ask(workers=SIZE - 1).json()
    assert acme.ended(made["operation"]["id"])["phase"] == "succeeded"
    acme.hand("latency", power_off=0.5, destroy=1.0)
    try:
        asked = acme.ci.delete(f"clusters/{made['cluster']['id']}")
        stack.until(lambda: acme.world.sql("select 1 from operations_inflight limit 1"), patience_s=30)
        kill_and_flush(acme)
        ended = acme.ended(asked.json()["operation"]["id"])
    finally:
        acme.hand("latency", power_off=0, destroy=0)
    assert ended["phase"] == "succeeded", ended
    assert acme.at_site() == []
    assert acme.held() == empty


def test_fifty_parallel_posts_with_one_key_make_one_cluster(acme):
    empty = acme.held()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: acme.ask("once", 1, **{"Idempotency-Key": "the same key"}), range(50)))
    assert {answer.status_code for answer in answers} == {202}, {answer.text for answer in answers}
    assert len({answer.json()["cluster"]["id"] for answer in answers}) == 1
    made = answers[0].json()
    assert acme.ended(made["operation"]["id"])["phase"] == "succeeded"
    assert acme.held()["allocations"] == 2
    assert acme.delete(made["cluster"]["id"])["phase"] == "succeeded"
    assert acme.held() == empty


def test_a_paused_worker_makes_no_second_vm(tmp_path):
    with town.carved(tmp_path, FACET_LEASE_S="6", FACET_CALL_TIMEOUT_S="2") as acme:
        empty = acme.held()
        acme.hand("latency", clone=2.0)
        asked = acme.ask(workers=5)
        stack.until(lambda: acme.world.sql("select 1 from operations_inflight limit 1"), patience_s=30)
        paused = acme.world.kill("worker", signal.SIGSTOP)
        assert paused
        log = (tmp_path / "second.log").open("w")
        second = subprocess.Popen(
            [sys.executable, "-m", "facet.manage", "worker"], cwd=stack.ROOT, stdout=log, stderr=log,
            env=acme.world.home.environment(acme.world.environ),
        )  # fmt: skip
        try:
            ended = acme.ended(asked.json()["operation"]["id"])
            for pid in paused:
                os.kill(pid, signal.SIGCONT)
            assert ended["phase"] == "succeeded", ended
            again = acme.ask("after", workers=1)  # the worker that was paused takes part again, and does no harm
            assert acme.ended(again.json()["operation"]["id"])["phase"] == "succeeded"
        finally:
            second.terminate()
            second.wait(30)
            log.close()
        vms = acme.at_site()
        assert len(vms) == len({vm.key for vm in vms}) == 8
        assert acme.held()["allocations"] == 8
        for made in (asked, again):
            assert acme.delete(made.json()["cluster"]["id"])["phase"] == "succeeded"
        assert acme.at_site() == []
        assert acme.held() == empty


def test_an_empty_site_is_left_to_a_person(acme):
    made = acme.ask("kept", workers=9).json()
    assert acme.ended(made["operation"]["id"])["phase"] == "succeeded"
    before = acme.held()
    acme.hand("lose-everything")
    acme.it.post(f"sites/{acme.site}/sync")
    site = stack.until(
        lambda: (found := acme.it.get(f"sites/{acme.site}").json()).get("reason") and found, patience_s=30
    )
    assert site["reason"]["code"] == "fewer_vms", site
    verbs = {event["verb"] for event in acme.it.get("events", params={"page_size": 500}).json()["items"]}
    assert "site.held_back" in verbs
    scaled = acme.ci.patch(
        f"node-pools/{made['cluster']['node_pools'][0]['id']}", json={"size": 10}
    )  # a pass is asked for: it must not rebuild the ten
    assert scaled.status_code == 202, scaled.text
    stack.until(
        lambda: acme.ci.get(f"clusters/{made['cluster']['id']}").json()["reason"], patience_s=30, what=acme.world.tails
    )
    assert acme.at_site() == []
    assert acme.held()["allocations"] == before["allocations"] + 1
    assert acme.delete(made["cluster"]["id"])["phase"] == "succeeded"  # a user's delete always ends
