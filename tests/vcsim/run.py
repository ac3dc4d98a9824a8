"""Build the simulated vCenter once a machine, and start one for a test.

`FACET_NO_SKIP=1` turns a missing Go or govmomi from a skip into a failure.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent
GOPATH = Path("/usr/share/gocode")
NEEDS = "vcsim needs Debian's golang-go, golang-github-vmware-govmomi-dev and golang-github-google-uuid-dev"


class Missing(Exception):
    """This machine cannot build the simulator; the text says what it lacks."""


def build(cache: Path) -> Path:
    """The binary of exactly this source, built at most once however many processes ask. Raises Missing."""
    sources = sorted(SOURCE.glob("*.go"))
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    binary = cache / f"vcsim-{digest}"
    if binary.exists():
        return binary
    if shutil.which("go") is None or not (GOPATH / "src/github.com/vmware/govmomi/simulator").is_dir():
        raise Missing(NEEDS)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "vcsim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            made = binary.with_suffix(".new")
            environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": ""}
            done = subprocess.run(
                ["go", "build", "-o", str(made), "."], cwd=SOURCE, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"vcsim does not build:\n{done.stderr}")
            made.rename(binary)
    return binary


def cache() -> Path:
    """Where what was built is kept."""
    return Path(os.environ.get("FACET_CACHE", SOURCE.parents[1] / ".facet" / "cache"))


def binary() -> Path:
    """The built simulator, or a skip that says why (a failure where nothing may skip)."""
    try:
        return build(cache())
    except Missing as missing:
        if os.environ.get("FACET_NO_SKIP") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@dataclass(frozen=True)
class Vcsim:
    """One running vCenter. The admin's verbs act on it by hand; README.md lists them."""

    address: str  # host:port
    ca_pem: str
    ca_file: Path
    username: str
    password: str
    process: subprocess.Popen[str]

    @property
    def endpoint(self) -> str:
        return f"https://{self.address}/sdk"

    def admin(self, verb: str, path: str, **body: Any) -> Any:
        """Call /facet/<path> and give back what it says, if anything."""
        data = json.dumps(body).encode() if verb == "POST" else None
        request = urllib.request.Request(f"https://{self.address}/facet/{path}", data=data, method=verb)
        context = ssl.create_default_context(cadata=self.ca_pem)
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def calls(self) -> Mapping[str, int]:
        """How often each SOAP method was called."""
        return dict(self.admin("GET", "calls")["calls"])

    def inject(self, method: str, fault: str, *, kind: str = "fault", times: int = 1, **more: Any) -> None:
        """Let a fault befall the next calls of a method; see `fault` in faults.go."""
        self.admin("POST", "faults", method=method, fault=fault, kind=kind, times=times, **more)

    def heal(self) -> None:
        self.admin("DELETE", "faults")

    @contextmanager
    def moves_take(self, seconds: float) -> Iterator[None]:
        self.admin("POST", "move-delay", seconds=seconds)
        try:
            yield
        finally:
            self.admin("POST", "move-delay", seconds=0)

    @contextmanager
    def clones_take(self, seconds: float) -> Iterator[None]:
        self.admin("POST", "clone-delay", seconds=seconds)
        try:
            yield
        finally:
            self.admin("POST", "clone-delay", seconds=0)


@contextmanager
def running(
    folder: Path, *flags: str, username: str = "u", password: str = "a vCenter's password", port: int = 0
) -> Iterator[Vcsim]:
    """A vCenter of 32 hosts on a free port of this machine until the block ends. `flags` are the program's own."""
    ca_file = folder / "vcsim-ca.pem"
    command = [str(binary()), "-l", f"127.0.0.1:{port}", "-ca-file", str(ca_file)]
    command += ["-username", username, "-password", password, *flags]
    with (folder / "vcsim.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("vcsim listens on https://"):
            raise RuntimeError(f"vcsim did not start: {line}{(folder / 'vcsim.log').read_text()}")
        address = line.split("https://")[1].split("/")[0]
        yield Vcsim(address, ca_file.read_text(), ca_file, username, password, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # a large one takes its time to forget its files
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
