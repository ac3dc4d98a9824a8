"""A full sync of a large vCenter: what Facet takes to read all of it and write it down, beside a bare read of the same.

Both run against one simulated vCenter, alternating; ours includes the database, where all is known from a first look.
The bare program asks the PropertyCollector for the same properties and keeps nothing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.programs import our_stack
from tests.vcsim import run

ROOT = Path(__file__).resolve().parents[3]
HOSTS, VMS, TURNS = 1000, 10_000, 3
PORT = 8741
AIM = 1.5


def rows(hosts: int = HOSTS, vms: int = VMS, turns: int = TURNS) -> list[dict[str, Any]]:
    flags = ("-hosts", str(hosts), "-vms", str(vms), "-standalone-hosts", "0", "-datastore-gib", "2000000")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vcsim").mkdir()
        (Path(folder) / "stack").mkdir()
        with (
            run.running(Path(folder) / "vcsim", *flags) as vcsim,
            our_stack.running(Path(folder) / "stack", PORT) as stack,
        ):
            words = (vcsim.endpoint, str(vcsim.ca_file), vcsim.username, vcsim.password, str(turns))
            found = _measured(stack.environ, words)
            print(f"sync: {found}", file=sys.stderr)
    ours, peer = statistics.median(found["ours_s"]), statistics.median(found["bare_s"])
    return [
        {
            "name": f"vsphere.sync.hosts{hosts}.vms{vms}",
            "value": round(ours, 3),
            "unit": "s",
            "peer": "bare PropertyCollector read",
            "peer_value": round(peer, 3),
            "ratio": round(ours / peer, 2),
            "aim": f"ratio <= {AIM}",
            "met": ours / peer <= AIM,
        }
    ]


def _measured(environ: dict[str, str], words: tuple[str, ...]) -> dict[str, list[float]]:
    """In a process of its own, on the stack's database."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.programs.sync_inside", *words],
        env=environ, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    found: dict[str, list[float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
