"""VMs of a project's own from request to gone, on a simulated site, by the passes of the real engine; and bad luck."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections
from django.db.models import F
from django.utils import timezone

from facet.operations import engine, wakeups
from facet.operations.models import Inflight, Operation, Wakeup
from facet.rest.access import SYSTEM
from facet.rest.problems import NotFound, Problem
from facet.workloads import asking, services
from facet.workloads.models import VM, ProjectFolder
from facet.workloads.serializers import NO_RULES
from infra.models import Datastore, Image, Site, Template
from scheduler.models import ResourcePool
from tenants.models import Project
from tests import ground, work
from tests.factories import as_system

from .test_cluster_races import wait_for
from .test_clusters import at_site, held


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def ask(land, name="db", **body):
    """The answer to a request for a VM."""
    return land.editor.post(f"{land.project}/vms", {"name": name, "zones": land.zones[:1], "flavor": "small", **body})


def shown(land, asked):
    return land.editor.get(f"vms/{asked['vm']['id']}").body


def reason(land, asked):
    return (shown(land, asked)["reason"] or {}).get("code")


def delete(land, asked):
    return land.editor.delete(f"vms/{asked['vm']['id']}")


def deleted(land, asked):
    """Delete what was asked for: always possible, and nothing is left at the site."""
    work.succeed(land.editor, delete(land, asked))
    assert at_site(land) == []


def failed(land, asked):
    """Why it failed, as its operation and its own reason say."""
    operation = work.done(land.editor, asked)
    assert operation["phase"] == "failed", operation
    assert shown(land, asked)["phase"] == "failed"
    assert reason(land, asked) == operation["problem"]["code"]
    return operation["problem"]["code"]


# --- its life ------------------------------------------------------------------------------------------------------


def test_a_vm_is_made_boots_tells_its_address_and_goes(land):
    empty = held()
    asked = ask(land, image="kube")
    assert (asked["vm"]["phase"], asked["vm"]["zone"], asked["vm"]["simulated"]) == ("pending", land.zones[0], True)
    operation = work.succeed(land.editor, asked)
    assert [(step["name"], step["phase"]) for step in operation["steps"]] == [
        ("machine", "done"), ("boot", "done"), ("address", "done"),
    ]  # fmt: skip
    vm = shown(land, asked)
    assert (vm["phase"], vm["power"], vm["reason"], vm["host"]) == ("running", "on", None, asked["vm"]["host"])
    assert vm["address"]
    assert at_site(land) == ["db"]
    assert held() | {"vms": 1, "allocations": 1, "vcpu_on_hosts": 2, "gib_on_datastores": 20} == held()
    deleted(land, asked)
    assert held() == empty
    assert land.editor.get(f"vms/{vm['id']}").status == 404
    with as_system():
        assert set(ProjectFolder.objects.values_list("ref", flat=True)) == {""}
        assert not Wakeup.objects.filter(kind="vm").exists()


def test_what_it_is_told_at_boot_is_its_name_and_no_secret(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    told = land.site.by_hand.extra_config(asked["vm"]["id"])
    text = str(told)
    assert "token" not in text.lower()
    assert "PRIVATE" not in text
    deleted(land, asked)


def test_one_that_shall_stay_off_is_made_and_left(land):
    asked = ask(land, power="off")
    operation = work.succeed(land.editor, asked)
    assert [step["name"] for step in operation["steps"]] == ["machine"]
    vm = shown(land, asked)
    assert (vm["phase"], vm["power"], vm["address"], vm["reason"]) == ("built", "off", None, None)
    deleted(land, asked)


def test_a_vm_stands_in_one_of_its_zones_and_its_name_is_free_again(land):
    first = ask(land, zones=land.zones)
    work.succeed(land.editor, first)
    assert shown(land, first)["zone"] in land.zones
    deleted(land, first)
    second = ask(land, zones=land.zones)
    assert second.status == 202
    assert second["vm"]["id"] != first["vm"]["id"]
    work.succeed(land.editor, second)
    deleted(land, second)


def test_at_rest_nobody_asks_the_site_until_it_tells_of_a_change(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    with as_system():
        assert not Wakeup.objects.filter(kind="vm").exists()
    land.site.by_hand.power_off(asked["vm"]["id"])
    land.sync()
    work.until(lambda: reason(land, asked) == "machine_off")
    assert shown(land, asked)["phase"] == "running"
    land.site.by_hand.hand("power-vm", key=asked["vm"]["id"], power="on")
    land.sync()
    work.until(lambda: reason(land, asked) is None)
    deleted(land, asked)


# --- bad luck ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As a SIGKILL is: nothing of ours sees it."""


def killed_at(lease, number):
    """Run this pass until its statement of this number, and no further; whether it came to that."""
    seen = 0

    def count(execute, sql, params, many, context):
        nonlocal seen
        seen += 1
        if seen == number:
            raise Killed
        return execute(sql, params, many, context)

    try:
        with connection.execute_wrapper(count):
            engine.run(lease)
    except Killed:
        connection.close()
        return True
    return False


def till_the_end(land, receipt):
    """Every pass over the VM is killed one statement later than the one before, until one is not, and so again."""
    number = 1
    while not work.ended(land.editor, receipt["operation"]["id"]):
        with as_system():
            Wakeup.objects.exclude(kind="vm").update(due_at=timezone.now() + timezone.timedelta(hours=1))
            Wakeup.objects.filter(kind="vm").update(due_at=timezone.now(), lease_until=None)  # the dead one's runs out
        lease = wakeups.take()
        assert lease is not None, work.queue()
        number = number + 1 if killed_at(lease, number) else 1
    with as_system():
        Wakeup.objects.update(due_at=timezone.now(), lease_until=None)


def test_killed_at_any_statement_it_is_made_once_and_removed_wholly(land):
    empty = held()
    land.site.by_hand.hand("latency", clone=0.2, destroy=0.2)
    asked = ask(land)
    till_the_end(land, asked)
    work.succeed(land.editor, asked)
    assert at_site(land) == ["db"]
    assert held() | {"vms": 1, "allocations": 1} == held()
    gone = delete(land, asked)
    till_the_end(land, gone)
    work.succeed(land.editor, gone)
    assert at_site(land) == []
    assert held() == empty


def one_pass():
    try:
        engine.take_next()
    finally:
        connections.close_all()


def killed_between_clone_and_record(land):
    """The worker is paused between the site's answer and its own record, and its turn is another's by then."""
    land.site.by_hand.hand("latency", clone=3.0)
    land.site.by_hand.inject("clone", "hang", after=True, seconds=1.5)
    asked = ask(land)
    paused = threading.Thread(target=one_pass)
    paused.start()
    wait_for(lambda: land.site.by_hand.hand("calls")["calls"].get("clone"))
    with as_system():
        assert Wakeup.objects.filter(kind="vm").update(turn=F("turn") + 1_000_000, lease_until=None) == 1
    paused.join(20)
    with as_system():
        assert Inflight.objects.count() == 0  # nobody knows the task
        assert set(VM.objects.values_list("phase", "external_ref")) == {("cloning", None)}
    return asked


def test_killed_between_clone_and_record_it_is_found_by_its_key(land):
    asked = killed_between_clone_and_record(land)
    work.succeed(land.editor, asked)
    assert at_site(land) == ["db"]
    deleted(land, asked)


def test_a_clone_that_comes_after_its_vm_was_deleted_is_reaped(land):
    empty = held()
    asked = killed_between_clone_and_record(land)
    deleted(land, asked)
    assert held() == empty
    wait_for(lambda: at_site(land) == ["db"])  # and here it is
    land.sync()
    work.until(lambda: at_site(land) == [])
    assert [event["target"]["name"] for event in land.editor.get("events?verb=vm.reaped")["items"]] == ["db"]


def test_deleted_while_it_is_cloned_the_delete_wins(land):
    empty = held()
    land.site.by_hand.hand("latency", clone=1.0)
    asked = ask(land)
    work.until(lambda: Inflight.objects.filter(doing="clone").exists())
    gone = delete(land, asked)
    assert land.editor.get(f"operations/{asked['operation']['id']}")["phase"] == "cancelled"
    assert held()["allocations"] == 1  # its room is held until it was seen gone
    work.succeed(land.editor, gone)
    assert at_site(land) == []
    assert held() == empty


def test_deleted_before_anything_was_made(land):
    empty = held()
    asked = ask(land)
    deleted(land, asked)
    assert held() == empty
    with pytest.raises(NotFound), as_system():
        services.delete_vm(vm=VM.objects.get(pk=asked["vm"]["id"]), by=SYSTEM)
    with as_system():
        assert not Operation.objects.filter(ended_at=None).exists()


def test_a_full_datastore_is_the_cause_and_its_room_is_held_until_it_is_deleted(land):
    empty = held()
    asked = ask(land)
    land.site.by_hand.hand("datastore", name=land.site.datastore, free_gib=1)
    assert failed(land, asked) == "no_space"
    assert held()["allocations"] == 1
    land.sync()
    with as_system():
        assert Datastore.objects.get(name=land.site.datastore).overdrawn_gib > 0
    refused = ask(land, "second")
    assert (refused.status, refused["code"]) == (409, "no_room")
    deleted(land, asked)
    assert held() == empty


def test_a_template_that_has_gone_is_the_cause(land):
    empty = held()
    asked = ask(land)
    with as_system():
        Template.objects.filter(image__vm__name="db").update(ref="vm-of-yesterday")
    assert failed(land, asked) == "not_found"
    deleted(land, asked)
    assert held() == empty


def test_an_image_that_left_the_catalogue_is_the_cause(land):
    asked = ask(land)
    image = land.it.get("images")["items"][0]["id"]
    refused = land.it.delete(f"images/{image}")
    assert (refused.status, [held["name"] for held in refused["holders"]]) == (409, ["db"])
    with as_system():
        VM.objects.update(image=None)
        Image.objects.all().delete()
    assert failed(land, asked) == "no_image"
    deleted(land, asked)


def test_a_fault_that_passes_is_tried_again_and_one_that_stays_is_told(land):
    land.site.by_hand.fail_clone("db")
    asked = ask(land)
    assert failed(land, asked) == "no_resources"
    deleted(land, asked)
    land.site.by_hand.inject("power_on", "task", match="ci", code="fault", reason="A fault of the host.")
    second = ask(land, "ci")
    work.succeed(land.editor, second)
    deleted(land, second)


def test_a_worker_that_died_before_it_told_of_the_failure_is_replaced(land):
    asked = ask(land)
    with as_system():
        VM.objects.update(phase="failed", reason={"code": "fault", "sentence": "A fault.", "action": "Look."})
    assert failed(land, asked) == "fault"
    deleted(land, asked)


def test_a_site_that_is_away_is_the_reason_while_it_lasts(land):
    land.site.by_hand.inject("folder", "down")
    asked = ask(land)
    work.until(lambda: reason(land, asked) == "site_unreachable")
    work.succeed(land.editor, asked)
    assert reason(land, asked) is None
    land.site.by_hand.inject("destroy", "down")
    deleted(land, asked)


def test_a_machine_that_may_not_go_says_so_and_goes_later(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    land.site.by_hand.inject("destroy", "error", code="no_permission", reason="You may not.")
    gone = delete(land, asked)
    work.until(lambda: reason(land, asked) == "no_permission")
    with as_system():
        Wakeup.objects.filter(kind="vm").update(due_at=timezone.now())
    work.succeed(land.editor, gone)
    assert at_site(land) == []


def test_a_pool_that_does_not_stand_yet_is_the_reason(land):
    with as_system():
        ResourcePool.objects.update(refs={})
    asked = ask(land)
    work.until(lambda: reason(land, asked) == "pool_not_ready")
    assert at_site(land) == []
    land.sync()
    work.succeed(land.editor, asked)
    deleted(land, asked)


def test_at_a_site_that_is_held_back_nothing_is_made_and_everything_may_go(land):
    with as_system():
        Site.objects.update(held_back=True)
    asked = ask(land)
    work.until(lambda: reason(land, asked) == "site_held_back")
    deleted(land, asked)


def test_what_is_lost_before_it_ran_is_made_anew(land):
    land.site.by_hand.inject("power", "down")  # so that it is built, and not booted yet
    asked = ask(land)
    work.until(lambda: shown(land, asked)["phase"] == "built")
    land.site.by_hand.delete_vm(asked["vm"]["id"])
    work.succeed(land.editor, asked)
    assert at_site(land) == ["db"]
    assert held()["allocations"] == 1
    assert [event["target"]["name"] for event in land.editor.get("events?verb=vm.rebuilt")["items"]] == ["db"]
    deleted(land, asked)


def test_what_is_lost_after_it_ran_is_told_and_not_made_anew(land):
    others = [ask(land, f"ci{number}") for number in range(3)]
    asked = ask(land)
    for receipt in (*others, asked):
        work.succeed(land.editor, receipt)
    land.site.by_hand.delete_vm(asked["vm"]["id"])
    land.sync()
    work.until(lambda: reason(land, asked) == "machine_missing")
    assert (shown(land, asked)["phase"], held()["allocations"]) == ("running", 4)
    work.succeed(land.editor, delete(land, asked))
    assert held()["allocations"] == 3
    for receipt in others:
        work.succeed(land.editor, delete(land, receipt))
    assert at_site(land) == []


# --- many at once --------------------------------------------------------------------------------------------------


def at_once(*acts):
    def said(act):
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as threads:
        return [one.result() for one in [threads.submit(said, act) for act in acts]]


def test_one_key_in_parallel_requests_makes_one_vm(land):
    body = {"name": "db", "zones": land.zones[:1]}
    say = [lambda: land.editor.post(f"{land.project}/vms", body, Idempotency_Key="k")] * 5
    answers = at_once(*say)
    assert {answer.status for answer in answers} == {202}
    assert len({answer["vm"]["id"] for answer in answers}) == 1
    assert held()["allocations"] == 1
    deleted(land, answers[0])


def test_one_name_in_parallel_requests_is_one_vms(land):
    answers = at_once(*[lambda: ask(land)] * 5)
    assert sorted(answer.status for answer in answers) == [202] + [409] * 4
    assert {answer["code"] for answer in answers if answer.status == 409} == {"name_taken"}
    assert held()["allocations"] == 1
    deleted(land, next(answer for answer in answers if answer.status == 202))


def test_deletes_in_parallel_are_one(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    answers = at_once(*[lambda: delete(land, asked)] * 5)
    assert {answer.status for answer in answers} == {202}
    assert len({answer["operation"]["id"] for answer in answers}) == 1
    work.succeed(land.editor, answers[0])


def test_a_project_is_deleted_or_a_vm_made_in_it_and_never_both(land):
    results = at_once(
        *[lambda number=number: ask(land, f"db{number}").status for number in range(3)],
        lambda: land.office.tenant_admin.delete(land.project).status,
    )
    *statuses, gone = results
    assert set(statuses) <= {202, 403, 404, 409}, statuses
    assert (gone in (200, 204)) == (held()["vms"] == 0)
    assert statuses.count(202) == held()["vms"]


def test_a_project_that_went_after_the_look_takes_no_vm(land):
    data = {"name": "db", "zones": land.zones[:1], "flavor": "small", "image": "", "placement": NO_RULES, "power": "on"}
    with as_system():
        wish = asking.wish(data=data, project=Project.objects.select_related("tenant").get())
    plan = services.decide(wish)
    assert land.office.tenant_admin.delete(land.project).status == 204
    with pytest.raises(Problem), as_system():
        services.create_vm(wish=wish, plan=plan, by=SYSTEM)
    assert held()["vms"] == held()["allocations"] == 0
