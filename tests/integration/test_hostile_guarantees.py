"""A guarantee as large as a zone in chunks as small as a crumb is refused, before so many pieces are laid out."""

from __future__ import annotations

import pytest

from facet.rest.problems import Invalid
from scheduler.guarantees import MOST_PIECES, Amounts
from scheduler.models import Hold, ResourcePool
from tests import room
from tests.factories import as_system
from tests.room import GIB


def test_a_guarantee_in_too_many_pieces_is_refused_by_its_shape(acme):
    place = room.land(memory_mib=4 * MOST_PIECES * GIB)
    with pytest.raises(Invalid, match="pieces"):
        room.pool(
            place, acme.tenant, model="flex", reserved=Amounts(1, 3 * MOST_PIECES * GIB), largest_shape="tiny"
        )  # fmt: skip
    with as_system():
        assert not ResourcePool.objects.exists()
        assert not Hold.objects.exists()
    room.pool(place, acme.tenant, model="flex", reserved=Amounts(1, 3 * MOST_PIECES * GIB), largest_shape="xlarge")
    room.check_books()
