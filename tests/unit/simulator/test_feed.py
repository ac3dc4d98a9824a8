"""The change feed: the last change of each object, in order, and an honest word where the past is lost."""

from __future__ import annotations

import asyncio

from infra.simulator import feed
from infra.simulator.feed import Feed


def moved(found):
    return [(change.ref, change.gone) for change in found[1]]


def test_each_object_is_told_once_in_the_order_of_its_last_change():
    made = Feed("here", [], 0)
    cursor = made.cursor
    for ref in ("vm-1", "vm-2", "vm-3", "vm-1"):
        made.note("vm", ref, gone=False)
    made.note("vm", "vm-2", gone=True)
    assert moved(made.since(cursor)) == [("vm-3", False), ("vm-1", False), ("vm-2", True)]
    assert moved(made.since(made.cursor)) == []


def test_a_feed_read_from_its_file_goes_on_where_it_was():
    made = Feed("here", [], 0)
    cursor = made.cursor
    kept = [made.note("vm", f"vm-{number}", gone=False)[0] for number in range(3)]
    again = Feed("here", kept, 0)
    assert again.cursor == made.cursor
    assert moved(again.since(cursor)) == moved(made.since(cursor))


def test_a_cursor_of_another_file_or_of_the_future_or_of_nobody_is_lost():
    made = Feed("here", [], 0)
    made.note("vm", "vm-1", gone=False)
    for cursor in ("there:0", "here:2", "here:-1", "here:x", "here:", "", "here:²"):
        assert made.since(cursor) is None, cursor


def test_a_cursor_older_than_what_is_kept_of_the_departed_is_lost(monkeypatch):
    monkeypatch.setattr(feed, "GONE_KEPT", 2)
    made = Feed("here", [], 0)
    old = made.cursor
    forgotten = [made.note("vm", f"vm-{number}", gone=True)[1] for number in range(3)]
    assert [one and one.ref for one in forgotten] == [None, None, "vm-0"]
    assert made.since(old) is None
    assert moved(made.since(f"here:{made.forgotten}")) == [("vm-1", True), ("vm-2", True)]


def test_very_many_changes_come_in_parts_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(feed, "MOST_AT_ONCE", 2)
    made, seen = Feed("here", [], 0), []
    cursor = made.cursor
    for number in range(5):
        made.note("vm", f"vm-{number}", gone=False)
    while True:
        cursor, part = made.since(cursor)
        if not part:
            break
        seen += [change.ref for change in part]
    assert seen == [f"vm-{number}" for number in range(5)]


def test_who_waits_is_woken_by_what_is_written_and_by_the_end():
    async def waits(act):
        made = Feed("here", [], 0)
        waiting = asyncio.ensure_future(made.wait(made.cursor, 30))
        await asyncio.sleep(0)
        act(made)
        await asyncio.wait_for(waiting, 1)
        return made

    def note(made):
        made.note("vm", "vm-1", gone=False)
        made.tell()

    asyncio.run(waits(note))
    ended = asyncio.run(waits(Feed.end))
    asyncio.run(asyncio.wait_for(ended.wait(ended.cursor, 30), 1))
