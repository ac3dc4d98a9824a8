"""CPU and memory of processes with all that they have started, from the operating system's own accounts (/proc)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def family(root: int) -> list[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is read
        found.extend(children.get(pid, []))
    return found


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds of these processes and their descendants so far, and of those that have ended and were waited for."""
    ticks = 0
    for root in roots:
        for pid in family(root):
            if fields := _stat(pid):
                ticks += sum(int(one) for one in fields[11:15])  # utime stime cutime cstime
    return ticks / TICKS_PER_S


def largest_rss_mib(root: int) -> float:
    """Resident memory of the largest process of a family."""
    pages = [int(fields[21]) for pid in family(root) if (fields := _stat(pid))]
    return max(pages) * PAGE / (1 << 20)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
