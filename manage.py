#!/usr/bin/env python3
"""Django's management commands, from a bare checkout: platform/ holds the package `facet`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "platform"))

from facet.manage import main

if __name__ == "__main__":
    main()
