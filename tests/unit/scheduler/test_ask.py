"""Bad amounts never reach the arithmetic."""

from __future__ import annotations

import pytest

from scheduler.core.ask import MOST
from tests.unit.scheduler.fleets import ask


@pytest.mark.parametrize("field", ["vcpu", "memory_mib", "disk_gib"])
@pytest.mark.parametrize("amount", [-1, 1.5, "2", True, MOST + 1, 1 << 63, float("nan")])
def test_amounts_are_whole_numbers_from_zero_to_a_bound(field: str, amount: object) -> None:
    with pytest.raises(ValueError, match=field):
        ask(**{field: amount})


def test_an_ask_for_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="vcpu or memory_mib"):
        ask(vcpu=0, memory_mib=0)


def test_the_largest_amounts_do_not_wrap_around() -> None:
    assert ask(vcpu=MOST, memory_mib=MOST, disk_gib=MOST).kind == ask(7, vcpu=MOST, memory_mib=MOST, disk_gib=MOST).kind
