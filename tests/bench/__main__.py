"""`python -m tests.bench [SUITE ...]`: measure, print the table, write bench/latest.json below FACET_HOME (.facet)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.bench import frame


def main(arguments: list[str]) -> int:
    known = frame.available()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        print(f"There is no bench {', '.join(unknown)}. There are: {', '.join(known)}.", file=sys.stderr)
        return 2
    rows = frame.run(arguments or known)
    frame.shown(rows)
    print(f"written to {frame.write(rows, Path(os.environ.get('FACET_HOME') or '.facet'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
