"""What a look writes: no row where nothing changed, and each row that did once."""

from __future__ import annotations

import re
import threading

import pytest
from django.db import connection

from infra import looks, outside
from infra.models import Datastore, Host, Site, UnmanagedVm
from infra.sitewatch import SiteWatch, claim
from tests import ground, strangers, work
from tests.contract.room import until
from tests.factories import as_system

from .test_vms import ask, deleted

WRITES = re.compile(r'(update|insert into|delete from)\s+"?(\w+)', re.IGNORECASE)
ALWAYS = ("update", "infra_site")  # when it was looked at


@pytest.fixture
def land(tmp_path):
    """With a VM of ours, and one of another's that runs; looked at twice, so that all is known."""
    with ground.simulated(tmp_path) as found:
        asked = ask(found)
        work.succeed(found.editor, asked)
        strangers.made(strangers.room(found))
        for _ in range(2):
            written(found)
        yield found
        deleted(found, asked)


def written(land):
    """The rows that one complete look writes: (what, table) for each, but for the site's own."""
    with as_system():
        site = Site.objects.get(pk=land.site_id)
        driver = outside.driver_of(site)
    look = looks.begin(site.id, as_system)
    check, seen = driver.check(), driver.inventory()
    rows = []

    def count(execute, sql, params, many, context):
        answer = execute(sql, params, many, context)
        found = WRITES.match(sql.strip())
        if found is not None:
            rows.extend([(found[1].lower(), found[2])] * context["cursor"].rowcount)
        return answer

    with connection.execute_wrapper(count):
        looks.complete(site, look, check, seen, as_system)
    assert rows.count(ALWAYS) == 1
    return sorted(one for one in rows if one != ALWAYS)


def stranger():
    with as_system():
        return UnmanagedVm.objects.get(name="legacy")


def test_a_look_writes_only_rows_that_changed(land):
    hand = land.site.by_hand
    assert written(land) == []
    with as_system():
        host, store = Host.objects.first(), Datastore.objects.get(name="rack-1-ssd")
    hand.hand("host", name=host.name, labels={"rack": "elsewhere"})
    assert written(land) == [("update", "infra_host")]
    hand.rename_vm(stranger().key, "older")
    assert written(land) == [("update", "infra_template"), ("update", "infra_unmanagedvm")]  # it can be cloned, too
    hand.hand("datastore", name=store.name, free_gib=store.free_gib - max(1, store.capacity_gib // 200))
    assert written(land) == []  # half a percent
    hand.hand("datastore", name=store.name, free_gib=store.free_gib - store.capacity_gib // 50)
    assert written(land) == [("update", "infra_datastore")]
    assert written(land) == []


def test_a_stranger_that_goes_off_writes_itself_and_its_host(land):
    land.site.by_hand.power_off(stranger().key)
    assert written(land) == [("update", "infra_host"), ("update", "infra_unmanagedvm")]


def test_a_cursor_that_is_lost_is_followed_by_a_complete_look(land):
    """A session that was ended is met in test_watch; here what the site says of a cursor that it does not know."""
    with as_system():
        watch = SiteWatch(Site.objects.get(pk=land.site_id))
        assert claim(watch.site.id, watch.watcher)
    assert watch.driver.changes("no such cursor", 0.0).resync
    before = Site.objects.get(pk=land.site_id).last_synced_at
    thread = threading.Thread(target=watch._run, args=("listen", watch._listen))
    thread.start()
    try:
        until(lambda: Site.objects.get(pk=land.site_id).last_synced_at > before)
        land.site.by_hand.rename_vm(stranger().key, "heard")
        until(lambda: UnmanagedVm.objects.filter(name="heard").exists())
    finally:
        watch.stop()
        thread.join(20)
    assert not thread.is_alive()
