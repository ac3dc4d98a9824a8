import pytest

from scheduler.core.forecast import FEWEST, forecast


def test_steady_growth_is_foretold_exactly() -> None:
    found = forecast([10.0 * step for step in range(20)], full=390)
    assert found is not None
    assert found.per_step == pytest.approx(10)
    assert found.steps_to_full == pytest.approx(20)
    assert found.back_test.error == pytest.approx(0)


def test_one_leap_does_not_turn_the_forecast() -> None:
    series = [float(step) for step in range(30)]
    series[15] += 1000
    found = forecast(series, full=129)
    assert found is not None
    assert found.steps_to_full == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("series", [[5.0] * 20, [20.0 - step for step in range(20)]])
def test_what_does_not_grow_is_never_full(series: list[float]) -> None:
    found = forecast(series, full=1000)
    assert found is not None
    assert found.steps_to_full is None


def test_what_is_full_is_full_now() -> None:
    found = forecast([100.0] * 10, full=90)
    assert found is not None
    assert found.steps_to_full == 0


def test_the_back_test_tells_what_the_rule_missed() -> None:
    """Flat for long, then it grows by 8 a step: told the flat part, the rule foretells nothing of it."""
    found = forecast([0.0] * 12 + [8.0, 16.0, 24.0, 32.0], full=1000)
    assert found is not None
    assert found.back_test.steps == 4
    assert found.back_test.error == pytest.approx(20)


def test_from_few_points_nothing_is_foretold() -> None:
    assert forecast([1.0] * (FEWEST - 1), full=10) is None
