"""Events in pages: in commit order without gaps."""

from __future__ import annotations

import pytest

from tests.integration.listening import BAD_CURSORS, connections_of_their_own, held_open, write


@pytest.fixture
def own_connection():
    with connections_of_their_own() as run:
        yield run


def test_pages_have_no_gap_where_a_transaction_commits_late(admin, own_connection):
    write("one")
    start = admin.get("events?page_size=500")["next"]
    with held_open(own_connection, "early"):
        write("later")
        held = admin.get(f"events?cursor={start}")
        assert held["items"] == []
        assert held["next"] == start
    page = admin.get(f"events?cursor={start}")
    assert [one["verb"] for one in page["items"]] == ["early", "later"]
    assert admin.get(f"events?cursor={page['next']}")["items"] == []


def test_the_cursor_of_an_empty_trail_can_be_followed(admin):
    start = admin.get("events?verb=nothing")
    assert start["items"] == []
    write("nothing")
    assert [one["verb"] for one in admin.get(f"events?verb=nothing&cursor={start['next']}")["items"]] == ["nothing"]


def test_pages_are_the_same_whatever_their_size(admin):
    write(*[f"v{n}" for n in range(25)])
    whole = [one["id"] for one in admin.get("events?page_size=500")["items"]]
    paged, cursor = [], "0-0"
    while page := admin.get(f"events?page_size=7&cursor={cursor}")["items"]:
        paged += [one["id"] for one in page]
        cursor = page[-1]["cursor"]
    assert paged == whole
    newest = admin.get("events?newest=true&page_size=5")["items"]
    assert [one["id"] for one in newest] == whole[-5:]


@pytest.mark.parametrize("cursor", BAD_CURSORS)
def test_a_bad_cursor_is_named(admin, cursor):
    refused = admin.get(f"events?cursor={cursor}")
    assert refused.status == 422
    assert "cursor" in refused["errors"]
