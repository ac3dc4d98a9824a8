"""Claims through the whole ledger, over HTTP, beside OpenStack Placement: in one run, alternating, medians.

A claim of ours is `POST projects/{id}/vms`: token, quota path, pool, placement, host and datastore, VM, operation,
event. A claim of theirs is GET allocation_candidates + PUT allocations. Both have two web workers of one web server and
a PostgreSQL of their own with the same settings. `python -m tests.bench.ledger --hosts 100,1000 --seconds 3 --rounds 2`
prints the rows; BENCH_HOSTS, BENCH_SECONDS, BENCH_ROUNDS and BENCH_GROWN say the same to `make bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.programs import accounts, our_stack, placement_peer
from tests.bench.programs.racing import Block, Side, block
from tests.e2e.stack import free_ports

HOSTS, SECONDS, ROUNDS = (100, 1000, 5000), 5.0, 3
CLIENTS = (1, 8)
GROWN = (20_000, 200_000)  # hosts, allocations
ROOM, CROWD = 50, 120  # the hot row: so much room, so many claims of 8 clients
SHAPE = {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}  # our flavor `tiny`
FASTER = {100: 4, 1000: 10, 5000: 50}  # the aims: how many times Placement's claims a second
OURS, PEER = "ours", "peer"
Row = dict[str, Any]


@dataclass
class Field:
    """Both sides, running. `peer` is None where it could not be installed."""

    stack: our_stack.Stack
    peer: placement_peer.Peer | None
    title: str

    @property
    def sides(self) -> list[Side]:
        ours = Side(OURS, self.stack.client, [self.stack.web, self.stack.bell], [self.stack.database])
        peer = self.peer
        if peer is None:
            return [ours]
        return [ours, Side(PEER, lambda: peer.client(SHAPE), [peer.web], [peer.database])]

    def row(self, name: str, unit: str, ours: float, theirs: float | None = None) -> Row:
        """With the peer's value and the ratio where it did the same."""
        found: Row = {"name": f"ledger.{name}", "value": _short(ours), "unit": unit}
        if theirs is not None:
            found |= {"peer": self.title, "peer_value": _short(theirs), "ratio": _short(ours / (theirs or 1))}
        return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def judged(row: Row, key: str, sign: str, bound: float) -> Row:
    """The row with its aim, and whether it is met; where there is no peer to compare with, without."""
    if key not in row:
        return row
    met = {">=": row[key] >= bound, "<=": row[key] <= bound, "<": row[key] < bound, "==": row[key] == bound}[sign]
    return row | {"aim": f"{key} {sign} {bound:g}", "met": met}


# --- the run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """How long it takes: hosts to measure at, seconds of a block, blocks of each side; and ours grown at the end."""

    hosts: Sequence[int] = HOSTS
    seconds: float = SECONDS
    rounds: int = ROUNDS
    grown: Sequence[int] = GROWN

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Size:
        """From BENCH_HOSTS=100,1000 and its likes; what is not said has its default."""
        return cls(
            hosts=_numbers(said.get("BENCH_HOSTS")) or HOSTS,
            seconds=float(said.get("BENCH_SECONDS") or SECONDS),
            rounds=int(said.get("BENCH_ROUNDS") or ROUNDS),
            grown=_numbers(said.get("BENCH_GROWN")) or GROWN,
        )


def _numbers(text: str | None) -> list[int]:
    return [int(one) for one in (text or "").split(",") if one]


def rows(size: Size | None = None) -> list[Row]:
    size = size or Size.of(os.environ)
    with _field() as field:
        found: list[Row] = []
        claims: dict[int, dict[str, list[Block]]] = {}
        for hosts in size.hosts:
            _grow(field, hosts)
            blocks = {clients: _alternating(field.sides, clients, size) for clients in CLIENTS}
            claims[hosts] = blocks[CLIENTS[-1]]
            found += [row for clients in CLIENTS for row in _claims(field, hosts, clients, blocks[clients])]
            found += _memory(field, hosts)
        found += _growth_of_cpu(field, claims)
        found += _whole_request(field, max(size.hosts))
        found += _grown(field, size)
        found += _hot_row(field)
    return found + _inside()


@contextmanager
def _field() -> Iterator[Field]:
    home = Path(os.environ.get("FACET_HOME") or ".facet").absolute()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="facet-bench-")))
        ours, theirs = free_ports(2)
        stack = running.enter_context(our_stack.running(folder / "ours", ours))
        try:
            found = placement_peer.environment(home)
            peer = running.enter_context(placement_peer.running(found, folder / "theirs", theirs))
        except placement_peer.NotThere as error:
            _say(f"No peer beside us: {error}")
            yield Field(stack, None, "")
            return
        yield Field(stack, peer, found.title)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _grow(field: Field, hosts: int) -> None:
    _say(f"{hosts} hosts")
    field.stack.ground("hosts", str(hosts))
    if field.peer is not None:
        field.peer.grow(hosts)
    for side in field.sides:  # not measured: connections, caches, the first whole look
        block(side, clients=CLIENTS[-1], seconds=1.0)


def _alternating(sides: Sequence[Side], clients: int, size: Size) -> dict[str, list[Block]]:
    """Blocks of all sides in turn, so that whatever else the machine does meets them alike."""
    found: dict[str, list[Block]] = {side.name: [] for side in sides}
    for _ in range(size.rounds):
        for side in sides:
            found[side.name].append(block(side, clients=clients, seconds=size.seconds))
    for name, blocks in found.items():
        rates = " ".join(f"{one.claims_per_s:.1f}" for one in blocks)
        _say(f"  {name}, {clients} client(s): {rates} claims/s")
    return found


def _median(blocks: Mapping[str, list[Block]], side: str, of: Callable[[Block], float]) -> float | None:
    """The median over the blocks of one side; None without that side."""
    return statistics.median(map(of, blocks[side])) if side in blocks else None


def _latency_ms(blocks: Mapping[str, list[Block]], side: str, part: float) -> float | None:
    """This part of a side's claims took no longer."""
    if side not in blocks:
        return None
    took = sorted(one for found in blocks[side] for one in found.latencies_s)
    return took[min(len(took) - 1, int(len(took) * part))] * 1000


# --- the rows ------------------------------------------------------------------------------------------------------


def _claims(field: Field, hosts: int, clients: int, blocks: Mapping[str, list[Block]]) -> list[Row]:
    where = f"hosts{hosts}.clients{clients}"

    def pair(of: Callable[[Block], float]) -> tuple[float, float | None]:
        return _median(blocks, OURS, of) or 0.0, _median(blocks, PEER, of)

    rate = field.row(f"claims_per_s.{where}", "1/s", *pair(lambda one: one.claims_per_s))
    if clients == 1:
        p50 = field.row(f"p50_ms.{where}", "ms", _latency_ms(blocks, OURS, 0.5) or 0, _latency_ms(blocks, PEER, 0.5))
        p99 = field.row(f"p99_ms.{where}", "ms", _latency_ms(blocks, OURS, 0.99) or 0, _latency_ms(blocks, PEER, 0.99))
        return [rate, judged(p50, "value", "<", 15) if hosts == 5000 else p50, p99]
    return [
        judged(rate, "ratio", ">=", FASTER[hosts]) if hosts in FASTER else rate,
        field.row(f"web_cpu_ms_per_claim.{where}", "ms", *pair(lambda one: one.web_ms)),
        field.row(f"database_cpu_ms_per_claim.{where}", "ms", *pair(lambda one: one.database_ms)),
        field.row(f"asked_again_per_claim.{where}", "1", *pair(lambda one: one.conflicts / max(1, one.accepted))),
    ]


def _memory(field: Field, hosts: int) -> list[Row]:
    theirs = None if field.peer is None else accounts.largest_rss_mib(field.peer.web)
    row = field.row(f"web_worker_rss_mib.hosts{hosts}", "MiB", accounts.largest_rss_mib(field.stack.web), theirs)
    return [judged(row, "value", "<", 200) if hosts == 5000 else row]


def _growth_of_cpu(field: Field, claims: Mapping[int, Mapping[str, list[Block]]]) -> list[Row]:
    """CPU of a claim, web and database together, at most hosts beside at fewest."""
    few, many = min(claims), max(claims)
    if few == many:
        return []

    def growth(side: str) -> float | None:
        both = [_median(claims[hosts], side, lambda one: one.web_ms + one.database_ms) for hosts in (many, few)]
        return None if both[0] is None or both[1] is None else both[0] / both[1]

    row = field.row(f"cpu_per_claim.hosts{many}_over_hosts{few}", "x", growth(OURS) or 0.0, growth(PEER))
    return [judged(row, "value", "<=", 2)]


def _whole_request(field: Field, hosts: int, nodes: int = 1000, times: int = 3) -> list[Row]:
    """One request for a cluster of many nodes: placed, written, committed and answered."""
    client, took = field.stack.client(), []
    for _ in range(times):
        began = time.perf_counter()
        client.cluster(nodes)
        took.append(time.perf_counter() - began)
    row = field.row(f"request_of_{nodes}_nodes_s.hosts{hosts}", "s", statistics.median(took))
    return [judged(row, "value", "<", 1)]


def _grown(field: Field, size: Size) -> list[Row]:
    """Ours alone, at a size that is not aimed at: what grows with hosts, and with what is held already."""
    hosts, allocations = size.grown
    _say(f"{hosts} hosts and {allocations} allocations")
    field.stack.ground("hosts", str(hosts))
    field.stack.hold(allocations)
    ours = field.sides[0]
    block(ours, clients=CLIENTS[-1], seconds=2.0)
    busy, alone = (block(ours, clients=clients, seconds=size.seconds) for clients in reversed(CLIENTS))
    where = f"hosts{hosts}.allocations{allocations}"
    looks = field.stack.inside("looks")
    return [
        field.row(f"claims_per_s.{where}.clients{CLIENTS[-1]}", "1/s", busy.claims_per_s),
        field.row(f"web_cpu_ms_per_claim.{where}", "ms", busy.web_ms),
        field.row(f"database_cpu_ms_per_claim.{where}", "ms", busy.database_ms),
        field.row(f"p50_ms.{where}.clients1", "ms", _latency_ms({OURS: [alone]}, OURS, 0.5) or 0),
        field.row(f"web_worker_rss_mib.{where}", "MiB", accounts.largest_rss_mib(field.stack.web)),
        field.row(f"look_whole_ms.hosts{hosts}", "ms", looks["whole_ms"]),
        field.row(f"look_at_a_change_ms.hosts{hosts}", "ms", looks["change_ms"]),
    ]


def _hot_row(field: Field) -> list[Row]:
    """One host with room for 50 and 8 clients who want more: how many were accepted, and whether any book is wrong."""
    stack, peer = field.stack, field.peer
    stack.ground("hot", str(ROOM))
    ours = Side(OURS, lambda: stack.client([our_stack.HOT]), [stack.web], [stack.database])
    accepted = block(ours, clients=CLIENTS[-1], seconds=60.0, most=CROWD).accepted
    theirs = None
    if peer is not None:
        peer.hot(ROOM)
        block(field.sides[1], clients=CLIENTS[-1], seconds=60.0, most=CROWD)
        theirs = peer.claimed()
    hot = judged(field.row(f"hot_host_with_room_for_{ROOM}.accepted", "claims", accepted, theirs), "value", "==", ROOM)
    books = stack.ground("books")
    return [hot, judged(field.row("oversold_or_miscounted", "rows", books["wrong"]), "value", "==", 0)]


def _inside() -> list[Row]:
    """The core by itself, in a process of its own."""
    core, drained = our_stack.core("core", 5000, 10_000), our_stack.core("drain", 5000, 10_000)
    field = Field(None, None, "")  # type: ignore[arg-type]  # its rows have no peer and no stack
    return [
        judged(
            field.row("core_placements_per_s.hosts5000.batch10000", "1/s", core["one_shape"]), "value", ">=", 50_000
        ),
        field.row("core_placements_per_s.hosts5000.batch10000.five_shapes", "1/s", core["five_shapes"]),
        field.row("core_place_one_ms.hosts5000", "ms", core["single_ms"]),
        judged(field.row("what_if_zone_drain_s.hosts5000.vms10000", "s", drained["seconds"]), "value", "<", 2),
    ]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ledger")
    for name in ("hosts", "seconds", "rounds", "grown"):
        parser.add_argument(f"--{name}")
    asked = {f"BENCH_{name.upper()}": text for name, text in vars(parser.parse_args(arguments)).items() if text}
    for row in rows(Size.of(os.environ | asked)):
        print(json.dumps(row))


if __name__ == "__main__":
    main(sys.argv[1:])
