"""What every group of verbs of the simulator's driver works with."""

from __future__ import annotations

from ..simulator_way import Way


class Parts:
    """The way to one simulated datacenter."""

    _way: Way
