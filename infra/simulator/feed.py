"""What moved, in order: for each object the last change only, so that the feed never outgrows the datacenter.

A cursor is `<instance>:<number>`. It is lost when it is another instance's, newer than all that happened here (an older
file came back), or so old that who left since is not known any more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from .records import Change

GONE_KEPT = 20_000
MOST_AT_ONCE = 5_000


class Feed:
    def __init__(self, instance: str, changes: Iterable[Change], forgotten: int) -> None:
        """`forgotten`: the number of the last departure that is not kept any more."""
        ordered = sorted(changes, key=lambda change: change.seq)
        self._instance = instance
        self._there = OrderedDict((change.ref, change) for change in ordered if not change.gone)
        self._gone = OrderedDict((change.ref, change) for change in ordered if change.gone)
        self.forgotten = forgotten
        self.last = max(ordered[-1].seq if ordered else 0, forgotten)
        self._told = self.last
        self._ended = False
        self._moved = asyncio.Event()

    def note(self, kind: str, ref: str, *, gone: bool) -> tuple[Change, Change | None]:
        """Something moved. Gives the change to be kept, and one that need not be kept any more."""
        self.last += 1
        change = Change(ref, kind, self.last, gone)
        self._there.pop(ref, None)
        (self._gone if gone else self._there)[ref] = change
        oldest = None
        if len(self._gone) > GONE_KEPT:
            _, oldest = self._gone.popitem(last=False)
            self.forgotten = oldest.seq
        return change, oldest

    def tell(self) -> None:
        """Wake everyone who waits: what was noted is written down."""
        if self.last == self._told:
            return
        self._told = self.last
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def end(self) -> None:
        """Nobody waits any more, now or later."""
        self._ended = True
        self._moved.set()

    @property
    def cursor(self) -> str:
        return f"{self._instance}:{self.last}"

    def since(self, cursor: str) -> tuple[str, list[Change]] | None:
        """The next cursor, and what moved after this one, oldest first; None where the cursor is lost."""
        instance, _, text = cursor.rpartition(":")
        if instance != self._instance or not text.isascii() or not text.isdigit():
            return None
        number = int(text)
        if not self.forgotten <= number <= self.last:
            return None
        newer = [*_newer(self._there, number), *_newer(self._gone, number)]
        newer.sort(key=lambda change: change.seq)
        if len(newer) > MOST_AT_ONCE:
            newer = newer[:MOST_AT_ONCE]
            return f"{instance}:{newer[-1].seq}", newer
        return self.cursor, newer

    async def wait(self, cursor: str, wait_s: float) -> None:
        """Until something is newer than the cursor, the cursor is lost, or the time is over."""
        found = self.since(cursor)
        if found is not None and not found[1] and not self._ended:
            try:
                await asyncio.wait_for(self._moved.wait(), wait_s)
            except TimeoutError:
                return


def _newer(changes: OrderedDict[str, Change], number: int) -> Iterator[Change]:
    for change in reversed(changes.values()):
        if change.seq <= number:
            return
        yield change
