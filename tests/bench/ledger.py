"""Claims a second through the ledger: 8 client processes, all that a claim writes, zones of 100 and 1,000 hosts.

`python -m tests.bench.ledger` prints the rows. No peer runs beside us yet.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLIENTS, SECONDS = 8, 5.0


def rows(sizes: tuple[int, ...] = (100, 1000), seconds: float = SECONDS) -> list[dict[str, Any]]:
    return [row for hosts in sizes for row in _of(hosts, seconds)]


def _of(hosts: int, seconds: float) -> list[dict[str, Any]]:
    found = _measured(hosts, seconds)
    busy = f"hosts{hosts}.clients{CLIENTS}"
    return [
        {"name": f"ledger.claims_per_s.{busy}", "value": round(found["claims_per_s"], 1), "unit": "1/s"},
        {"name": f"ledger.stale_per_claim.{busy}", "value": round(found["stale_per_claim"], 4), "unit": "1"},
        {"name": f"ledger.look_whole_ms.hosts{hosts}", "value": round(found["look_whole_ms"], 2), "unit": "ms"},
        {"name": f"ledger.look_changes_ms.hosts{hosts}", "value": round(found["look_changes_ms"], 2), "unit": "ms"},
    ]


def _measured(hosts: int, seconds: float) -> dict[str, float]:
    """What the program says, in a process of its own: it brings PostgreSQL and an empty database."""
    command = [sys.executable, "-m", "tests.bench.programs.claims", str(hosts), str(CLIENTS), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the clients failed:\n{done.stderr[-4000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    for row in rows():
        print(json.dumps(row))
