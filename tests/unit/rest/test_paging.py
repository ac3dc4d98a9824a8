"""A cursor is a place in the order (created_at, id); whatever else comes as one is refused by name."""

import base64
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facet.rest.paging import Pages, read_cursor, show_cursor
from facet.rest.problems import Invalid


def asked(**query):
    return SimpleNamespace(query_params=query)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_reads_back_as_what_it_was_made_of(at: datetime, id: UUID):
    assert read_cursor(show_cursor((at, id))) == (at, id)


@given(st.text(max_size=80))
def test_any_text_is_a_place_or_refused_by_name(text):
    assert place_or_refusal(text) in ("a place", ["cursor"])


def place_or_refusal(text):
    try:
        at, _ = read_cursor(text)
    except Invalid as refusal:
        return list(refusal.more["errors"])
    return "a place" if at.tzinfo else "a time without a zone"


@pytest.mark.parametrize(
    "inside",
    ["", "|", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00|00000000-0000-7000-8000-000000000000",
     "yesterday|00000000-0000-7000-8000-000000000000", "2026-01-01T00:00:00+00:00|1", "p=2026&r=1"],
)  # fmt: skip
def test_a_cursor_of_the_wrong_kind_is_refused(inside):
    with pytest.raises(Invalid):
        read_cursor(base64.urlsafe_b64encode(inside.encode()).decode())


@pytest.mark.parametrize("size", ["0", "501", "-1", "1.5", "", "ten", "٣", "1" * 5000, " 5"])
def test_a_page_size_is_a_whole_number_in_its_bounds(size):
    with pytest.raises(Invalid) as refused:
        Pages().get_page_size(asked(page_size=size))
    assert list(refused.value.more["errors"]) == ["page_size"]


def test_the_bounds_themselves_are_good():
    assert [Pages().get_page_size(asked(page_size=size)) for size in ("1", "500")] == [1, 500]
    assert Pages().get_page_size(asked()) == 50
