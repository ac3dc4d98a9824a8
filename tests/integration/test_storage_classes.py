"""Storage classes: what IT offers by name in a zone, and where disks that were asked for with it come to lie."""

import pytest

from facet.operations.models import Event
from facet.rest.problems import Problem
from infra.models import Datastore, StorageClass, Zone
from scheduler import ledger
from scheduler.core.ask import Plan
from scheduler.models import Allocation
from tests import factories, room, sites
from tests.factories import as_system


@pytest.fixture
def admin():
    return factories.person("root", "platform-admin")


def stores(*sizes, zones=()):
    """Datastores ds-2, ds-3, ... beside the land's own ds-1, of these sizes, in these zones."""
    made = []
    with as_system():
        for number, gib in enumerate(sizes, start=2):
            site = zones[0].site
            made.append(
                Datastore.objects.create(
                    site=site, ref=f"ds-{number}", name=f"ds-{number}", capacity_gib=gib, free_gib=gib, limit_gib=gib
                )
            )
            made[-1].zones.set(zones)
        for host in zones[0].site.hosts.all():
            host.datastore_refs = ["ds-1", *(store.ref for store in made)]
            host.save()
    return made


def offer(admin, zone, name, *datastores):
    answer = admin.post(f"zones/{zone.id}/storage-classes", {"name": name, "datastores": list(datastores)})
    assert answer.status == 201, answer
    return answer.body


def team(place, name="acme"):
    tenant = factories.tenant(name)
    project = factories.project(tenant, "web")
    return project, room.pool(place, tenant)


def lie(project):
    with as_system():
        rows = Allocation.objects.filter(project=project, released=None).order_by("created", "id")
        return [row.datastore.name for row in rows.select_related("datastore")]


def test_disks_lie_only_on_datastores_of_their_class(admin):
    place = room.land(2, storage_gib=10_000)
    stores(40, 30, zones=[place.zone])
    offer(admin, place.zone, "fast", "ds-2", "ds-3")
    offer(admin, place.zone, "slow", "ds-1")
    project, pool = team(place)
    for _ in range(7):
        room.claim(project, pool, [room.ask(place, pool, disk_gib=10, storage_class="fast")])
    assert sorted(lie(project)) == ["ds-2"] * 4 + ["ds-3"] * 3
    with pytest.raises(Problem) as full:
        ledger.decide([room.ask(place, pool, disk_gib=10, storage_class="fast")], seed=1)
    told = full.value.document()
    assert (told["code"], told["limits"][0]["filter"]) == ("no_room", "datastore")
    assert told["limits"][0]["largest_free"] == 0  # of the class; ds-1 has 10,000 GiB
    room.claim(project, pool, [room.ask(place, pool, disk_gib=10, storage_class="slow")])
    assert lie(project)[-1] == "ds-1"
    room.check_books()


def test_a_class_that_is_changed_is_seen_by_the_next_look_of_every_process(admin):
    place = room.land(1)
    stores(50, zones=[place.zone])
    _, pool = team(place)

    def goes_to(name):
        wanted = [room.ask(place, pool, disk_gib=10, storage_class=name)]
        try:
            (one,) = ledger.decide(wanted, seed=1).placements
        except Problem as refused:
            return refused.code
        return Datastore.objects.get(pk=one.datastore_id).name

    ledger.look(full=True)
    assert goes_to("fast") == "no_room"
    made = offer(admin, place.zone, "fast", "ds-2")
    seen = ledger.look()
    assert goes_to("fast") == "ds-2"
    changed = admin.patch(f"storage-classes/{made['id']}", {"datastores": ["ds-1"]})
    assert (changed.status, [store["name"] for store in changed["datastores"]]) == (200, ["ds-1"])
    assert ledger.look() is not seen
    assert goes_to("fast") == "ds-1"
    assert admin.delete(f"storage-classes/{made['id']}").status == 204
    assert goes_to("fast") == "no_room"


def test_zones_that_share_datastores_each_have_classes_of_their_own(admin):
    """Both zones use both datastores; what is fast in one is not what is fast in the other."""
    place = room.land(2)
    with as_system():
        other = Zone.objects.create(site=place.zone.site, name="az2", selector={"label": "b=c"}, phase="active")
        place.datastore.zones.add(other)
        place.hosts[1].zone = other
        place.hosts[1].save()
    stores(100_000, zones=[place.zone, other])
    offer(admin, place.zone, "fast", "ds-1")
    offer(admin, other, "fast", "ds-2")
    tenant = factories.tenant("acme")
    pools = [room.pool(place, tenant), room.pool(room.Land(other, place.hosts, place.datastore), tenant)]
    zones = (place.zone.id, other.id)
    wanted = [
        room.ask(place, pools[0], storage_class="fast", zones=zones, pools=tuple(one.id for one in pools))
        for _ in range(20)
    ]
    plan = ledger.decide(wanted, seed=3)
    assert isinstance(plan, Plan)
    names = {(str(one.zone_id), Datastore.objects.get(pk=one.datastore_id).name) for one in plan.placements}
    assert names == {(str(place.zone.id), "ds-1"), (str(other.id), "ds-2")}


def test_a_class_stays_while_what_stands_was_asked_for_with_it(admin):
    place = room.land(1)
    made = offer(admin, place.zone, "fast", "ds-1")
    project, pool = team(place)
    wanted = room.ask(place, pool, disk_gib=10, storage_class="fast", name="db")
    room.claim(project, pool, [wanted])
    refused = admin.delete(f"storage-classes/{made['id']}")
    assert (refused.status, refused["code"]) == (409, "in_use")
    assert refused["holders"] == [{"kind": "vm", "id": str(wanted.key), "name": "db"}]
    room.release(project, [wanted.key])
    assert admin.delete(f"storage-classes/{made['id']}").status == 204
    assert admin.delete(f"storage-classes/{made['id']}").status == 404
    assert not StorageClass.objects.exists()


def test_a_datastore_that_leaves_the_zone_leaves_its_classes(admin):
    zone = sites.carved(sites.registered())
    assert admin.patch(f"zones/{zone.id}", {"datastores": ["ssd-1", "ssd-2"]}).status == 202
    made = offer(admin, zone, "fast", "ssd-1", "datastore-2")
    assert [store["name"] for store in made["datastores"]] == ["ssd-1", "ssd-2"]
    assert admin.patch(f"zones/{zone.id}", {"datastores": ["ssd-2"]}).status == 202
    assert [store["name"] for store in admin.get(f"storage-classes/{made['id']}")["datastores"]] == ["ssd-2"]


def test_a_tenant_sees_what_it_may_ask_for_and_not_where_it_lies(admin):
    place = room.land(1)
    made = offer(admin, place.zone, "fast", "ds-1")
    office = factories.office("acme")
    for shown in (
        office.viewer.get(f"zones/{place.zone.id}/storage-classes")["items"][0],
        office.viewer.get(f"storage-classes/{made['id']}").body,
    ):
        assert (shown["name"], shown["zone"]["name"], shown["datastores"]) == ("fast", "az1", None)
    body = {"name": "mine", "datastores": ["ds-1"]}
    assert office.tenant_admin.post(f"zones/{place.zone.id}/storage-classes", body).status == 403
    assert office.tenant_admin.patch(f"storage-classes/{made['id']}", {"datastores": ["ds-1"]}).status == 403
    assert office.tenant_admin.delete(f"storage-classes/{made['id']}").status == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Fast!", "datastores": ["ds-1"]}, "name"),
        ({"name": "fast", "datastores": []}, "datastores"),
        ({"name": "fast"}, "datastores"),
        ({"name": "fast", "datastores": ["nowhere"]}, "datastores"),
        ({"name": "fast", "datastores": ["of-another-zone"]}, "datastores"),
        ({"name": "fast", "datastores": ["ds-1"] * 201}, "datastores"),
        ({"name": "fast", "datastores": ["ds-1"], "size": 1}, "size"),
    ],
)
def test_what_cannot_be_a_storage_class_is_422_and_leaves_nothing(admin, body, field):
    place = room.land(1)
    with as_system():
        Datastore.objects.create(
            site=place.zone.site, ref="x", name="of-another-zone", capacity_gib=1, free_gib=1, limit_gib=1
        )
    refused = admin.post(f"zones/{place.zone.id}/storage-classes", body)
    assert (refused.status, list(refused["errors"])) == (422, [field]), refused
    assert not StorageClass.objects.exists()


def test_names_are_unique_in_a_zone_and_edits_are_not_lost(admin):
    place = room.land(1)
    made = offer(admin, place.zone, "fast", "ds-1")
    again = admin.post(f"zones/{place.zone.id}/storage-classes", {"name": "fast", "datastores": ["ds-1"]})
    assert (again.status, again["code"]) == (409, "name_taken")
    seen = admin.get(f"storage-classes/{made['id']}").headers["ETag"]
    one = admin.patch(f"storage-classes/{made['id']}", {"datastores": ["ds-1"]}, If_Match=seen)
    two = admin.patch(f"storage-classes/{made['id']}", {"datastores": ["ds-1"]}, If_Match=seen)
    assert (one.status, one["generation"], two.status) == (200, 2, 412)
    with as_system():
        verbs = list(Event.objects.filter(target_kind="storage-class").order_by("seq").values_list("verb", flat=True))
    assert verbs == ["storage-class.create", "storage-class.update"]


def test_a_zone_that_goes_takes_no_new_class(admin):
    place = room.land(1)
    with as_system():
        Zone.objects.update(phase="deleting")
    refused = admin.post(f"zones/{place.zone.id}/storage-classes", {"name": "fast", "datastores": ["ds-1"]})
    assert (refused.status, refused["code"]) == (409, "deleting")
