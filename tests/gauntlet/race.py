"""A race: processes that act by dice until the time is up or a law is broken, and are killed at random meanwhile.

The parent opens no connection while it forks. Counters lie in shared memory, a row for each seat, so that a process
that is killed takes nothing with it; a seat whose process died gets another one, with dice of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import IntegrityError, OperationalError, connections

from facet.rest.endpoint import LookAgain
from facet.rest.problems import Problem
from tests.client import Api
from tests.gauntlet.actors import Runner, Temper
from tests.gauntlet.course import Course
from tests.gauntlet.faults import Outside
from tests.gauntlet.guarantors import Guarantor
from tests.gauntlet.keepers import Keeper
from tests.gauntlet.laws import NOT_OVERSOLD, Referee

DONE, REFUSED, CONFLICT, DEADLOCK = OUTCOMES = ("done", "refused", "conflict", "deadlock")
TEAMS = {"claim": 40, "resize": 14, "release": 22, "move": 8, "arrive": 10}
KEEPERS = {"pool-made": 2, "pool-changed": 4, "pool-deleted": 2, "pool-gone": 2, "quota": 6}
GUARANTORS = {"transfer": 5, "survive": 2, "take-spare": 1, "rehouse": 6}
OUTSIDE = {"hosts-change": 3, "datastores-fill": 2, "cordon": 2, "overcommit": 1, "zone-closed": 1, "all-well": 4}
PATIENCE_S = 30.0
LOOK_S = 0.1
NO_CIRCLE = "nobody waits in a circle"
RIVAL = "one_live_allocation_per_holder"
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Rules:
    """How long a race is, who runs in it, and how they are."""

    seed: int
    clients: int = 8
    seconds: float = 10.0
    verbs: Mapping[str, int] = field(default_factory=lambda: {**TEAMS, **KEEPERS, **GUARANTORS, **OUTSIDE})
    temper: Temper = field(default_factory=Temper)
    kill_s: float | None = 1.0  # between two kills, at random up to twice that; None: nobody is killed


@dataclass
class Report:
    """What was tried, how it ended, and which laws were broken."""

    rules: Rules
    seconds: float
    counts: Counter[tuple[str, str]]
    kills: int
    looks: int
    deadlocks: int
    broken: list[str]

    @property
    def tried(self) -> int:
        return sum(self.counts.values())

    @property
    def oversold(self) -> int:
        """Limits that were seen passed."""
        return sum(line.startswith(tuple(NOT_OVERSOLD)) for text in self.broken for line in text.splitlines())

    def lines(self) -> list[str]:
        head = f"{'':18}" + "".join(f"{name:>10}" for name in ("tried", *OUTCOMES))
        rows = []
        for verb in self.rules.verbs:
            of_verb = [self.counts[verb, outcome] for outcome in OUTCOMES]
            rows.append(f"{verb:18}" + "".join(f"{count:>10}" for count in (sum(of_verb), *of_verb)))
        return [
            head,
            *rows,
            f"{self.tried} operations by {self.rules.clients} processes in {self.seconds:.1f} s, {self.kills} of them "
            f"killed; {self.looks} snapshots, seed {self.rules.seed}",
            f"oversold {self.oversold}, deadlocks {self.deadlocks}, laws broken {len(self.broken)}",
            *(f"  BROKEN {line}" for line in self.broken),
        ]


class Board:
    """What the processes share: counters by seat, verb and outcome, whether to go on, and how often was looked."""

    def __init__(self, seats: int, verbs: Mapping[str, int]) -> None:
        self.verbs = list(verbs)
        self.wide = len(self.verbs) * len(OUTCOMES)
        self.cells = FORK.RawArray("q", seats * self.wide)
        self.over = FORK.RawValue("b", 0)
        self.looks = FORK.RawValue("q", 0)

    def count(self, seat: int, verb: str, outcome: str) -> None:
        self.cells[seat * self.wide + self.verbs.index(verb) * len(OUTCOMES) + OUTCOMES.index(outcome)] += 1

    def total(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for at, count in enumerate(self.cells):
            verb, outcome = divmod(at % self.wide, len(OUTCOMES))
            found[self.verbs[verb], OUTCOMES[outcome]] += count
        return found


def run(course: Course, it: Api, rules: Rules) -> Report:
    """Race on a course, in the database that this process is connected to."""
    it.get("zones")  # loads the routes once, for all that are forked
    connections.close_all()
    with tempfile.TemporaryDirectory(prefix="facet-gauntlet-") as folder:
        return _Race(course, it, rules, Path(folder)).run()


class _Race:
    def __init__(self, course: Course, it: Api, rules: Rules, folder: Path) -> None:
        self.course, self.it, self.rules, self.folder = course, it, rules, folder
        self.board = Board(rules.clients, rules.verbs)
        self.dice = random.Random(rules.seed)
        self.born = self.kills = 0
        self.deadlocks = _deadlocks()

    def run(self) -> Report:
        began = time.monotonic()
        referee = self.fork(self.judge)
        seats = [self.seated(seat) for seat in range(self.rules.clients)]
        next_kill = self.next_kill(began)
        while not self.board.over.value and time.monotonic() < began + self.rules.seconds:
            time.sleep(0.01)
            if next_kill is not None and time.monotonic() > next_kill:
                os.kill(self.dice.choice(seats).pid, signal.SIGKILL)
                next_kill = self.next_kill(time.monotonic())
            for seat, process in enumerate(seats):
                if not process.is_alive():
                    self.ended(process)
                    seats[seat] = self.seated(seat)
        self.board.over.value = 1
        for process in (*seats, referee):
            process.join(PATIENCE_S)
            self.ended(process)
        return self.report(time.monotonic() - began)

    def next_kill(self, now: float) -> float | None:
        return None if self.rules.kill_s is None else now + self.dice.random() * 2 * self.rules.kill_s

    def fork(self, work: Callable[..., None], *arguments: Any) -> Any:
        process = FORK.Process(target=self.written, args=(work, *arguments))
        process.start()
        return process

    def seated(self, seat: int) -> Any:
        self.born += 1
        return self.fork(self.live, seat, self.born)

    def written(self, work: Callable[..., None], *arguments: Any) -> None:
        """In the child: what goes wrong is written down, and ends the race."""
        try:
            work(*arguments)
            connections.close_all()
        except BaseException as error:
            self.break_off(f"a process failed: {error!r}\n{traceback.format_exc()}")

    def break_off(self, text: str) -> None:
        (self.folder / f"broken-{os.getpid()}").write_text(text)
        self.board.over.value = 1

    def ended(self, process: Any) -> None:
        if process.is_alive():
            self.break_off(f"process {process.pid} did not come back within {PATIENCE_S} s")
            process.kill()
            process.join()
        self.kills += process.exitcode == -signal.SIGKILL

    def live(self, seat: int, number: int) -> None:
        """In the child: act after act."""
        dice = random.Random(f"{self.rules.seed}/{number}")
        runner = Runner(self.course, dice, self.rules.temper)
        known = {
            **runner.verbs,
            **Keeper(self.course, dice, self.it).verbs,
            **Guarantor(self.course, dice, self.it).verbs,
            **Outside(self.course, dice).verbs,
        }
        names, weights = list(self.rules.verbs), list(self.rules.verbs.values())
        while not self.board.over.value:
            verb = dice.choices(names, weights)[0]
            outcome = _outcome(known[verb])
            self.board.count(seat, verb, outcome)
            if outcome == DEADLOCK:
                self.break_off(f"{NO_CIRCLE}: {verb}")

    def judge(self) -> None:
        """In the child: look at the laws until the race is over, and once more."""
        referee, pause = Referee(), FORK.Event()
        while not self.board.over.value:
            if self.found(referee):
                return
            pause.wait(LOOK_S)

    def found(self, referee: Referee) -> bool:
        broken = referee.broken()
        self.board.looks.value += 1
        if broken:
            self.break_off("\n".join(broken))
        return bool(broken)

    def report(self, seconds: float) -> Report:
        told = [path.read_text() for path in sorted(self.folder.glob("broken-*"))]
        told += [line for line in Referee().broken() if not any(line in text for text in told)]
        return Report(
            self.rules, seconds, self.board.total(), self.kills, self.board.looks.value,
            _deadlocks() - self.deadlocks, told,
        )  # fmt: skip


def _outcome(act: Callable[[], None]) -> str:
    """How it ended. Raises what no law allows: a fault of ours, a CHECK that had to hold what a guard let through."""
    try:
        act()
    except LookAgain:
        return CONFLICT
    except Problem as problem:
        return CONFLICT if problem.status == 503 else REFUSED
    except IntegrityError as error:
        if getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == RIVAL:
            return CONFLICT  # two claim for one holder in the same moment
        raise
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", None) == "40P01":
            return DEADLOCK
        raise
    return DONE


def _deadlocks() -> int:
    """That PostgreSQL has seen in this database since it was made."""
    with contextlib.closing(connections["owner"]), connections["owner"].cursor() as cursor:
        cursor.execute("select pg_stat_force_next_flush()")
        cursor.execute("select deadlocks from pg_stat_database where datname = current_database()")
        found: int = cursor.fetchone()[0]
    return found
