"""What IT plans with and what tenants are shown of their use, by the command line against the real API."""

import csv
import io
from datetime import UTC, datetime

import pytest

from infra.models import Flavor
from scheduler.models import Allocation
from tests import factories, room
from tests.factories import as_system
from tests.integration.test_cli_people import facet, url  # noqa: F401  fixtures

GIB = 1024


@pytest.fixture
def told(facet, url, monkeypatch):  # noqa: F811
    """Two VMs of acme on two hosts; answers a way to run a command line as IT and read what it says."""
    place = room.land(hosts=2, vcpu=8, memory_mib=32 * GIB)
    acme = factories.office("acme")
    pool = room.pool(place, acme.tenant)
    room.claim(acme.project, pool, [room.ask(place, pool, 2, 4 * GIB, name=f"db-{n}") for n in range(2)])
    with as_system():
        Flavor.objects.exclude(name="small").delete()
        Allocation.objects.update(created=datetime(2026, 3, 1, tzinfo=UTC))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FACET_URL", url)
    monkeypatch.setenv("FACET_TOKEN", factories.token_of(_root()))

    def say(line, code=0):
        found, out, err = facet(line)
        assert found == code, (line, out, err)
        return out, err

    return say


def _root():
    person = factories.user("root")
    with as_system():
        factories.Member.objects.create(user=person, role=factories.Role.PLATFORM_ADMIN)
    return person


def test_use_is_shown_as_a_table_and_as_csv(told):
    period = "--from 2026-03-01 --to 2026-03-01T00:30:00Z"
    out, err = told(f"usage --tenant acme {period}")
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["web", "az1", "2", "2.000", "4.000", "10.000"],
        ["total", "-", "-", "2.000", "4.000", "10.000"],
    ]
    assert err.startswith("From 2026-03-01")
    (line,) = csv.DictReader(io.StringIO(told(f"usage --project acme/web {period} -o csv")[0]))
    assert (line["project"], line["vcpu_seconds"], line["vcpu_hours"]) == ("web", "7200", "2.0")
    told("usage --tenant acme --from 2026-02-30", code=2)
    told("usage", code=2)


def test_allocations_say_where_and_why(told):
    out, _ = told("allocation list --project acme/web")
    assert "db-0" in out
    out, _ = told("allocation why db-1 --project acme/web")
    assert out.startswith("Of 2 hosts 2 would do; policy spread chose host-")
    assert "anti_affinity" in out
    told("allocation why nobody --project acme/web", code=2)


def test_a_zones_capacity_is_shown(told):
    out, err = told("zone capacity az1")
    assert "guaranteed" in out.lower()
    small = next(line for line in out.splitlines() if line.startswith("small"))
    assert small.split()[-1] == "6"
    assert "could not use" in err


def test_a_what_if_is_answered_and_refused_as_it_comes_out(told):
    out, _ = told("zone what-if az1 --drain-host host-1")
    assert out.startswith("All 1 VMs would find room.")
    assert "host-2" in out
    out, _ = told("zone what-if az1 --lose", code=6)
    assert out.startswith("Of 2 VMs 2 would find no room.")
    assert "db-0" in out
    out, _ = told("zone what-if az1 --add-hosts 2 --like host-1")
    assert "14" in out
    told("zone what-if az1", code=2)
    told("zone what-if az1 --lose --drain", code=2)
    told("zone what-if az1 --add-hosts 2", code=2)
    told("zone what-if az1 --drain-host nowhere", code=2)
