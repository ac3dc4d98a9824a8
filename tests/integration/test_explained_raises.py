"""What a refusal proposes can be done: where a tenant has too little to hand down, that is named too."""

from __future__ import annotations

import pytest

from scheduler.models import ResourcePool
from scheduler.services import Limits
from tenants.models import Quota
from tests import factories, room
from tests.factories import as_system

from .test_explained import GIB, kinds, raise_, refused


def told(nearest):
    return {(one["scope"], one["resource"]): (one["by"], one["to"]) for one in kinds(nearest)["limits"]["raise"]}


@pytest.mark.parametrize(
    ("limit", "elsewhere", "to"),
    [
        pytest.param(500, 497, 502, id="it has handed all down"),
        pytest.param(4, 1, 6, id="it lacks some to use, and some again to hand down"),
    ],
)
def test_a_projects_quota_is_raised_with_what_its_tenant_lacks(acme, limit, elsewhere, to):
    """The project may have 3 and asks for 5. Of the tenant's limit the rest is handed down to another."""
    place = room.land(hosts=4)
    pool = room.pool(place, acme.tenant)
    with as_system():
        of_vms = Quota.objects.filter(tenant=acme.tenant, resource="vms", zone_id=None)
        of_vms.filter(project=acme.project).update(limit=3)
        of_vms.filter(project=None).update(limit=limit, handed_down=3)
    factories.project(acme.tenant, "other", {"vms": elsewhere})
    asks = [room.ask(place, pool) for _ in range(5)]

    nearest, _ = refused(lambda: room.claim(acme.project, pool, asks))
    assert told(nearest) == {("project", "vms"): (2, 5), ("tenant", "vms"): (2, to)}
    raise_(acme, kinds(nearest)["limits"])
    room.claim(acme.project, pool, asks)
    room.check_books()


def test_a_projects_pool_is_raised_with_what_its_tenants_has_left_to_hand_down(acme):
    place = room.land(hosts=4, vcpu=1000)
    above = room.pool(place, acme.tenant, limit=Limits(vcpu=20, memory_mib=100 * GIB))
    pool = room.pool(place, acme.tenant, acme.project, limit=Limits(vcpu=10, memory_mib=50 * GIB))
    other = factories.project(acme.tenant, "other")
    room.pool(place, acme.tenant, other, limit=Limits(vcpu=8, memory_mib=50 * GIB))
    asks = [room.ask(place, pool, 3) for _ in range(5)]

    nearest, _ = refused(lambda: room.claim(acme.project, pool, asks))
    assert told(nearest) == {("project pool", "vcpu"): (5, 15), ("tenant pool", "vcpu"): (3, 23)}
    sentence = next(one["sentence"] for one in nearest if one["kind"] == "limits")
    assert "3 more vcpu in the limit of tenant pool az1" in sentence
    with as_system():
        above.refresh_from_db()
        assert (above.vcpu_limit, above.vcpu_handed_down) == (20, 18), "what was tried was taken back"
        ResourcePool.objects.filter(pk=above.pk).update(vcpu_limit=23, vcpu_handed_down=23)
        ResourcePool.objects.filter(pk=pool.pk).update(vcpu_limit=15)
    room.claim(acme.project, pool, asks)
    room.check_books()
