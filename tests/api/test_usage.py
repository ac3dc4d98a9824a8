import csv
import io
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from scheduler.models import Allocation
from tests import room
from tests.factories import as_system

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
MARCH = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"


@pytest.fixture
def used(acme):
    """One VM of 2 vCPUs, 4 GiB and 10 GiB, from midnight for an hour."""
    place = room.land()
    project, pool = acme.project, room.pool(place, acme.tenant)
    room.claim(project, pool, [room.ask(place, pool, 2, 4096, 10)])
    with as_system():
        Allocation.objects.update(created=EPOCH, released=EPOCH + timedelta(hours=1))
    return project


def test_usage_as_json_and_csv(acme, used):
    for path in (f"tenants/{used.tenant_id}/usage", f"projects/{used.id}/usage"):
        answer = acme.tenant_admin.get(f"{path}?{MARCH}")
        assert answer.status == 200, answer
        assert answer["total"] == {
            "vcpu_seconds": 7200, "memory_mib_seconds": 4096 * 3600, "storage_gib_seconds": 36000, "vcpu_hours": 2.0,
            "memory_gib_hours": 4.0, "storage_gib_hours": 10.0,
        }  # fmt: skip
        (item,) = answer["items"]
        assert (item["project"], item["zone"], item["vms"]) == ("web", "az1", 1)
        table = acme.tenant_admin.get(f"{path}?{MARCH}&format=csv")
        assert table.headers["Content-Type"].startswith("text/csv")
        (line,) = csv.DictReader(io.StringIO(table.body.decode()))
        assert (line["project"], line["zone"], line["vcpu_seconds"]) == ("web", "az1", "7200")
        assert line["from"] == "2026-03-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "query", ["from=yesterday", "to=2999-01-01T00:00:00Z", "from=2026-03-02&to=2026-03-01", "to=%00"]
)
def test_a_bad_interval_is_refused_in_json_in_any_form(acme, used, query):
    for form in ("json", "csv"):
        answer = acme.tenant_admin.get(f"projects/{used.id}/usage?{query}&format={form}")
        assert (answer.status, answer.is_problem) == (422, True), answer
        assert set(answer["errors"]) <= {"from", "to"}


def test_an_offset_is_understood(acme, used):
    east = quote("2026-03-01T02:00:00+02:00")
    answer = acme.tenant_admin.get(f"projects/{used.id}/usage?from={east}&to=2026-03-01T00:30:00Z")
    assert answer["total"]["vcpu_seconds"] == 2 * 1800
