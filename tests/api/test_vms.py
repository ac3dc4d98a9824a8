"""VMs through the API: what is taken, what is refused, who may, and dry runs. Nothing answers at the site's address."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from facet.workloads.models import VM
from infra.models import Datastore, Flavor, Host, StorageClass, Zone, ZonePhase
from scheduler import standing
from scheduler.core.ask import Policy
from scheduler.models import Allocation
from tests import factories
from tests.api import world
from tests.client import Answer, Api
from tests.factories import as_system

COUNTED = ("tenants_token", "tenants_loginfailure", "django_session")


class Place:
    """A project in the world of these tests, and its people."""

    def __init__(self) -> None:
        self.it, _ = world.platform()
        self.owned = world.belongings(self.it, "acme")
        self.editor, self.viewer = (world.client(self.owned.people[who]) for who in ("editor", "viewer"))
        self.path = f"projects/{self.owned.project.id}"

    def ask(self, name: str = "db", by: Api | None = None, key: str = "", **body: Any) -> Answer:
        headers = {"Idempotency_Key": key} if key else {}
        asked = {"name": name, "zones": ["az1"], **body}
        return (by or self.editor).post(f"{self.path}/vms", asked, **headers)

    def explain(self, count: int = 1, **vm: Any) -> Answer:
        body = {"vm": {"zones": ["az1"], **vm}, "count": count}
        return self.editor.post(f"{self.path}/placements", body)


@pytest.fixture
def place():
    return Place()


def vms(place: Place) -> dict[str, Any]:
    return {vm["name"]: vm for vm in place.editor.get(f"{place.path}/vms")["items"]}


def test_a_dry_run_of_a_vm_holds_nothing(place):
    before = world.fingerprints(but=COUNTED)
    fits = place.explain(count=5, flavor="small")
    assert (fits.status, fits["fits"]) == (200, True)
    assert [one["name"] for one in fits["placements"]] == [f"dry-run-{number}" for number in range(1, 6)]
    assert {one["zone"] for one in fits["placements"]} == {"az1"}
    too_much = place.explain(count=1000, flavor="small")
    assert (too_much.status, too_much["fits"]) == (200, False)
    assert too_much["code"] in ("no_room", "quota_exceeded", "pool_exceeded")
    assert place.explain(placement={"require": {"rack": "nowhere"}})["code"] == "no_room"
    assert world.changed(before, world.fingerprints(but=COUNTED)) == []


def test_a_dry_run_says_what_the_request_then_does(place):
    foretold = place.explain(name="db", flavor="medium")["placements"][0]
    got = place.ask(flavor="medium")["vm"]
    assert (got["zone"], got["vcpu"]) == (foretold["zone"], 4)
    assert place.explain(name="db", flavor="medium")["code"] == "name_taken"


def test_a_dry_run_takes_one_form_or_the_other(place):
    both = place.editor.post(f"{place.path}/placements", {"vm": {"zones": ["az1"]}, "zones": ["az1"]})
    assert (both.status, list(both["errors"])) == (422, ["zones"])
    assert place.explain(count=0).status == 422
    assert place.explain(count=1001).status == 422
    assert list(place.explain(flavor="nothing")["errors"]) == ["flavor"]


def test_a_vm_is_shown_as_it_was_asked_for(place):
    got = place.ask(flavor="medium", image="kube", power="off")
    assert got.status == 202
    assert (got["operation"]["verb"], got["operation"]["target"]["name"]) == ("vm.create", "db")
    vm = place.editor.get(f"vms/{got['vm']['id']}")
    assert vm.body == got["vm"]
    assert vm.headers["ETag"] == '"1"'
    assert (vm["flavor"], vm["image"], vm["power_wanted"], vm["phase"]) == ("medium", "kube", "off", "pending")
    assert vm["owner"] == {"kind": "vm", "id": vm["id"]}
    assert vms(place)["db"] == vm.body


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("name", {"name": "No Name"}),
        ("zones", {"zones": []}),
        ("zones", {"zones": ["nowhere"]}),
        ("zones", {"zones": ["az1"] * 17}),
        ("flavor", {"flavor": "nothing"}),
        ("image", {"image": "nothing"}),
        ("power", {"power": "half"}),
        ("placement.policy", {"placement": {"policy": "scatter"}}),
        ("placement.anti_affinity", {"placement": {"anti_affinity": "required"}}),
        ("placement.storage_class", {"placement": {"storage_class": "gold"}}),
        ("placement.require.a b", {"placement": {"require": {"a b": "c"}}}),
        ("placement.avoid", {"placement": {"avoid": {f"k{n}": "v" for n in range(17)}}}),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(place, field, body):
    before = world.fingerprints(but=COUNTED)
    refused = place.ask(**body)
    assert (refused.status, list(refused["errors"])) == (422, [field])
    assert world.changed(before, world.fingerprints(but=COUNTED)) == []


def test_a_disk_that_the_image_does_not_fit_on_is_refused(place):
    with as_system():
        Flavor.objects.create(name="minute", vcpu=1, memory_mib=512, disk_gib=1)
    refused = place.ask(flavor="minute")
    assert (refused.status, list(refused["errors"])) == (422, ["flavor"])


def test_zones_are_of_one_site_and_one_must_be_open(place):
    with as_system():
        Zone.objects.filter(name="az1").update(phase=ZonePhase.DRAINING)
    refused = place.ask()
    assert (refused.status, refused["code"]) == (409, "zone_not_active")
    refused = place.ask(zones=["az1", "az2"])
    assert (refused.status, refused["code"]) == (409, "no_pool")


def test_a_name_is_one_vms_in_its_project(place):
    node = next(name for name in vms(place) if name.startswith("acme-shop"))
    assert place.ask("db").status == 202
    for name in ("db", node):
        again = place.ask(name)
        assert (again.status, again["code"]) == (409, "name_taken")
    with as_system():
        assert VM.objects.filter(name="db").count() == 1


def test_a_key_said_twice_makes_one_vm(place):
    first, second = place.ask(key="k"), place.ask(key="k")
    assert first.status == 202
    assert second.body == first.body
    assert place.ask("other", key="k").status == 422
    with as_system():
        assert Allocation.objects.filter(holder=first["vm"]["id"]).count() == 1


def test_a_claim_takes_few_statements(place):
    """Hundreds are asked for in a second: each statement more is paid by all of them."""
    assert place.ask("first").status == 202
    with CaptureQueriesContext(connection) as seen:
        assert place.ask("second", key="k").status == 202
    statements = [one["sql"] for one in seen.captured_queries if one["sql"] not in ("BEGIN", "COMMIT")]
    assert len(statements) <= 17, "\n".join(statements)


def test_a_list_takes_as_many_statements_for_many_as_for_one(place):
    def counted():
        with CaptureQueriesContext(connection) as seen:
            vms(place)
        return len(seen)

    before = counted()
    for name in ("a", "b", "c"):
        assert place.ask(name).status == 202
    assert counted() == before


def test_only_editors_ask_and_delete(place):
    assert place.ask(by=place.viewer).status == 403
    vm = place.ask()["vm"]
    assert place.viewer.get(f"vms/{vm['id']}").status == 200
    assert place.viewer.delete(f"vms/{vm['id']}").status == 403
    stranger = factories.office("rival").editor
    assert stranger.get(f"vms/{vm['id']}").status == 404
    assert stranger.delete(f"vms/{vm['id']}").status == 404


def test_a_machine_of_a_cluster_is_shown_and_goes_with_its_cluster(place):
    machine = next(vm for vm in vms(place).values() if vm["owner"]["kind"] == "cluster")
    refused = place.editor.delete(f"vms/{machine['id']}")
    assert (refused.status, refused["code"]) == (409, "in_use")
    assert [(one["kind"], one["name"]) for one in refused["holders"]] == [("cluster", "acme-shop")]
    assert "acme-shop" in refused["detail"]
    own = place.editor.get(f"{place.path}/vms?owner_kind=vm")["items"]
    assert [vm["name"] for vm in own] == ["acme-db"]


def test_a_delete_said_twice_is_one_and_takes_the_create_back(place):
    made = place.ask()
    assert place.editor.delete(f"vms/{made['vm']['id']}", If_Match='"7"').status == 412
    first = place.editor.delete(f"vms/{made['vm']['id']}")
    second = place.editor.delete(f"vms/{made['vm']['id']}")
    assert (first.status, first["vm"]["phase"], first["vm"]["generation"]) == (202, "deleting", 2)
    assert second["operation"]["id"] == first["operation"]["id"]
    created = place.editor.get(f"operations/{made['operation']['id']}")
    assert (created["phase"], created["superseded_by"]) == ("cancelled", first["operation"]["id"])


def test_a_cancelled_create_is_a_delete(place):
    made = place.ask()
    assert place.editor.post(f"operations/{made['operation']['id']}/cancel").status in (200, 202)
    assert place.editor.get(f"vms/{made['vm']['id']}")["phase"] == "deleting"


def test_quota_and_rules_decide(place):
    quota = f"{place.path}/quota"
    used = next(row for row in place.editor.get(quota)["items"] if row["resource"] == "vms")["used"]
    assert place.it.patch(quota, {"limits": {"vms": used}}).status == 200
    refused = place.ask()
    assert (refused.status, refused["code"]) == (409, "quota_exceeded")
    assert "db" not in vms(place)


def test_rules_choose_the_host_and_the_datastore(place):
    with as_system():
        last = Host.objects.filter(zone__name="az1").order_by("name").last()
        Host.objects.filter(pk=last.pk).update(labels={"disk": "nvme"})
        zone = Zone.objects.get(name="az1")
        StorageClass.objects.create(zone=zone, name="gold").datastores.set(Datastore.objects.filter(zones=zone))
    assert place.ask("a", placement={"require": {"disk": "nvme"}})["vm"]["host"] == last.name
    assert place.ask("b", placement={"prefer": {"disk": "nvme"}, "policy": "pack"})["vm"]["host"] == last.name
    assert place.ask("c", placement={"avoid": {"disk": "nvme"}})["vm"]["host"] != last.name
    with as_system():
        kept = Allocation.objects.get(ask__name="a")
    assert (kept.ask["require"], kept.why["policy"]) == ([["disk", "nvme"]], "spread")


def test_a_vms_policy_is_kept_for_who_asks_again_for_it(place):
    """A drain and a replay place it by the policy that it was asked for with."""
    vm = place.ask("packed", placement={"policy": "pack"})["vm"]
    with as_system():
        row = Allocation.objects.get(holder=vm["id"])
        assert row.ask["policy"] == "pack"
        there = {one.key: one.core.ask.policy for one in standing.standing_on([row.host_id])}
        assert there[row.holder] is Policy.PACK
