"""First limits and first claims of a zone at one moment: nobody waits in a ring, nothing is oversold."""

from __future__ import annotations

import pytest

from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict
from tenants import quota
from tenants.models import Quota
from tests import room
from tests.factories import as_system

from .test_ledger import at_once

ROUNDS = 8
NARROW = {"vms": 10, "vcpu": 1, "storage_gib": 1000, "memory_mib": 100 * 1024}


@pytest.mark.parametrize("of_project", [True, False])
def test_the_first_limits_of_a_zone_and_its_first_claims_do_not_deadlock(acme, of_project):
    for number in range(ROUNDS):
        place = room.land(name=f"az{number}")
        pool = room.pool(place, acme.tenant)

        def work(seat, place=place, pool=pool):
            try:
                if seat:
                    room.claim(acme.project, pool, [room.ask(place, pool, 2)])
                else:
                    with as_system():
                        quota.set_limits(
                            tenant=acme.tenant, project=acme.project if of_project else None, limits=NARROW,
                            zone_id=place.zone.id, replace=False, by=SYSTEM,
                        )  # fmt: skip
            except Conflict as refused:
                return refused.code
            return "done"

        assert set(at_once(work, 3)) <= {"done", "quota_exceeded", "below_use"}
        with as_system():
            rows = list(Quota.objects.filter(zone_id=place.zone.id, resource="vcpu"))
        assert all(row.limit is None or row.used <= row.limit for row in rows)
    room.check_books()
