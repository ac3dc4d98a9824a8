"""When a zone will be full, from what was claimed of it: the median slope, and how wrong the same rule has been.

The slope is that of Theil and Sen, the median over all pairs of points: one large cluster that came or went does not
turn the forecast. (H. Theil, 1950; P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 8  # points below which nothing is foretold


@dataclass(frozen=True)
class BackTest:
    """The same rule, told what was known `steps` ago, about each step since."""

    steps: int
    error: float  # mean absolute error, in the unit of the series


@dataclass(frozen=True)
class Forecast:
    """Amounts a step. `steps_to_full`: from the last point on; None while it does not grow, 0 when it is full."""

    per_step: float
    steps_to_full: float | None
    back_test: BackTest


def forecast(claimed: Sequence[float], full: float) -> Forecast | None:
    """`claimed`: equally spaced, the newest last; `full`: what there is. None: too few points to say anything."""
    if len(claimed) < FEWEST:
        return None
    series = np.asarray(claimed, np.float64)
    slope = _slope(series)
    room = full - float(series[-1])
    if room <= 0:
        left: float | None = 0.0
    else:
        left = room / slope if slope > 0 else None
    return Forecast(slope, left, _back_test(series))


def _slope(series: np.typing.NDArray[np.float64]) -> float:
    first, second = np.triu_indices(len(series), 1)
    return float(np.median((series[second] - series[first]) / (second - first)))


def _back_test(series: np.typing.NDArray[np.float64]) -> BackTest:
    steps = len(series) // 4
    known = series[:-steps]
    foretold = known[-1] + _slope(known) * np.arange(1, steps + 1)
    return BackTest(steps, float(np.mean(np.abs(foretold - series[-steps:]))))
