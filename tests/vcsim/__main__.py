"""A simulated vCenter started by hand: `python -m tests.vcsim`. Builds it when needed, and becomes it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.vcsim import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.vcsim", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:8989")
    parser.add_argument("--username", default="u")
    parser.add_argument("--password-stdin", action="store_true", required=True, help="read the password from stdin")
    parser.add_argument("--ca-file", type=Path, default=Path("ca.pem"), help="where the CA of its certificate is put")
    given, flags = parser.parse_known_args()
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        parser.error("no password came on stdin")
    try:
        binary = run.build(run.cache())
    except run.Missing as missing:
        parser.error(str(missing))
    print(f"endpoint   https://{given.listen}/sdk\nuser       {given.username}\nCA         {given.ca_file}", flush=True)
    command = [str(binary), "-l", given.listen, "-ca-file", str(given.ca_file), "-username", given.username]
    os.execv(binary, [*command, "-password", password, *flags])


if __name__ == "__main__":
    main()
