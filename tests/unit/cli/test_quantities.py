from __future__ import annotations

import pytest

from facet.cli import quantities
from facet.cli.faults import Usage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vcpu=64", {"vcpu": 64}),
        ("memory=256GiB, storage=2TiB", {"memory_mib": 262144, "storage_gib": 2048}),
        ("memory=1.5GiB", {"memory_mib": 1536}),
        ("storage=1PiB", {"storage_gib": 1048576}),
        ("vms=unlimited,networks=0", {"vms": None, "networks": 0}),
    ],
)
def test_amounts_become_the_apis(text: str, expected: dict[str, int | None]) -> None:
    assert quantities.amounts(text, option="--quota") == expected


@pytest.mark.parametrize(
    "text",
    [
        "", ",", "vcpu", "vcpu=", "cpu=1", "vcpu=1.5", "vcpu=-1", "vcpu=1GiB", "memory=1", "memory=1GB",
        "memory=1.0001MiB", "storage=1MiB", "vcpu=1,vcpu=2", "vms=1e3", "vms=٣", "vcpu=99999999999999", "memory=1GiB=2",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_wrong_use(text: str) -> None:
    with pytest.raises(Usage, match="--quota: "):
        quantities.amounts(text, option="--quota")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (262144, "MiB", "256 GiB"),
        (1536, "MiB", "1.5 GiB"),
        (1000, "MiB", "1,000 MiB"),
        (2048, "GiB", "2 TiB"),
        (0, "MiB", "0 MiB"),
    ],
)
def test_sizes_are_shown_in_the_largest_unit_that_is_exact(value: int, unit: str, expected: str) -> None:
    assert quantities.size(value, unit) == expected


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600), ("2d", 172800)])
def test_lengths_of_time(text: str, expected: int) -> None:
    assert quantities.duration_s(text, option="--timeout") == expected


@pytest.mark.parametrize("text", ["0", "-1", "1w", "h", "", "1 h", "1.5h"])
def test_what_is_no_length_of_time_is_wrong_use(text: str) -> None:
    with pytest.raises(Usage):
        quantities.duration_s(text, option="--timeout")
