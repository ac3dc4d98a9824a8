"""docs/promises.md is held against the tree; see its first paragraph."""

import pytest

from tests import promises

ROWS = promises.read()


def _cases():
    for promise in ROWS:
        open_mark = pytest.mark.xfail(strict=True, reason=f"open promise {promise.id}: {promise.sentence}")
        yield pytest.param(promise, id=promise.id, marks=[open_mark] if promise.state == "open" else [])


@pytest.mark.parametrize("promise", list(_cases()))
def test_a_promise_is_kept_by_a_test_with_a_body(promise):
    assert promises.fault(promise) is None


def test_ids_are_unique():
    ids = [promise.id for promise in ROWS]
    assert len(ids) == len(set(ids))
