"""The frame of `make bench`: DESIGN's shape of a row, held for every suite without running the long ones."""

from __future__ import annotations

import inspect
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import frame, vsphere
from tests.bench.programs import sync, vm_requests

ROOT = Path(__file__).resolve().parents[2]
WHOLE = {
    "name": "ledger.claims_per_s.hosts5000.clients8", "value": 260.0, "unit": "1/s",
    "peer": "openstack-placement 16.0.0", "peer_value": 4.9, "ratio": 53.1, "aim": "ratio >= 50", "met": True,
}  # fmt: skip
SHORT = {"name": "ledger.place_ms", "value": 1, "unit": "ms"}


def test_a_bench_row_has_the_agreed_shape(tmp_path):
    rows = frame.run(["ledger"], load=lambda name: lambda: [WHOLE, SHORT])
    assert rows == [WHOLE, SHORT]
    file = frame.write(rows, tmp_path)
    assert file == tmp_path / "bench" / "latest.json"
    assert json.loads(file.read_text()) == rows
    assert [one.name for one in file.parent.iterdir()] == ["latest.json"]
    text = io.StringIO()
    frame.shown(rows, Console(file=text, width=200))
    for word in ("ledger.claims_per_s.hosts5000.clients8", "260", "openstack-placement 16.0.0", "4.9", "53.1", "yes"):
        assert word in text.getvalue()


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": 1.0, "unit": "s"},
        {"name": "ledger.x", "unit": "s"},
        {"name": "ledger.x", "value": "1", "unit": "s"},
        {"name": "ledger.x", "value": True, "unit": "s"},
        {"name": "ledger.x", "value": 1},
        {"name": "vsphere.x", "value": 1, "unit": "s"},
        {"name": "ledger.x", "value": 1, "unit": "s", "note": "fast"},
        {"name": "ledger.x", "value": 1, "unit": "s", "peer": "another"},
        {"name": "ledger.x", "value": 1, "unit": "s", "aim": "value < 2"},
        {"name": "ledger.x", "value": 1, "unit": "s", "aim": "value < 2", "met": 1},
    ],
)
def test_another_shape_is_refused(wrong):
    with pytest.raises(ValueError, match=r"row|ledger|vsphere|None"):
        frame.run(["ledger"], load=lambda name: lambda: [wrong])


def test_the_vsphere_bench_is_registered():
    assert "vsphere" in frame.available()
    measure = frame.suite("vsphere")
    assert callable(measure)
    assert measure.__module__ == "tests.bench.vsphere"


def test_the_vm_request_bench_is_registered():
    assert frame.suite("vsphere").__code__.co_names.count("vm_requests") == 1
    assert callable(vm_requests.rows)


@pytest.mark.slow
def test_the_vm_request_bench_says_what_it_measures(monkeypatch):
    """A short run of the whole but for the idle site: real processes, a vCenter, the bare program, two tenants."""
    monkeypatch.setenv("FACET_ALLOW_EPHEMERAL_KEY", "1")
    rows = vm_requests.rows(vsphere.bare_request, vms=4, turns=1, flood=60, idle_vms=0)
    found = {frame.checked(row, "vsphere")["name"]: row for row in rows}
    assert found["vsphere.request_s.vms4"]["peer"].startswith("bare pyvmomi")
    assert found["vsphere.request_full_reads.vms4"]["value"] == 0
    assert found["vsphere.request_calls_per_vm.vms4"]["value"] > 4
    assert found["vsphere.first_vm_s.beside_flood_of_60"]["ratio"] > 0


def test_the_sync_bench_is_registered():
    """It is one of the vSphere suite's, at the size that the issue names."""
    assert (sync.HOSTS, sync.VMS) == (1000, 10_000)
    assert vsphere.sync is sync
    assert "sync.rows" in inspect.getsource(vsphere.rows)


@pytest.mark.parametrize("name", frame.available())
def test_every_bench_that_is_here_offers_rows(name):
    assert callable(frame.suite(name))


def test_no_bench_lies_here_unregistered():
    own = {"__init__", "__main__", "frame"}
    found = {file.stem for file in Path(frame.__file__).parent.glob("*.py")}
    assert {name for name in found - own if not name.startswith("test_")} <= set(frame.SUITES)


def test_an_unknown_bench_is_refused_with_the_ones_there_are():
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "vsphere" in done.stderr


@pytest.mark.slow
def test_the_ledger_bench_names_its_peer():
    """A short run of the whole: both sides claim over HTTP, and no book of ours is wrong afterwards."""
    size = ["--hosts", "60", "--seconds", "0.5", "--rounds", "1", "--grown", "100,100"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.ledger", *size], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    if "No peer beside us" in done.stderr:
        pytest.skip(done.stderr.splitlines()[0])
    rows = {row["name"]: frame.checked(row, "ledger") for row in map(json.loads, done.stdout.splitlines())}
    beside = rows["ledger.claims_per_s.hosts60.clients8"]
    assert beside["peer"].startswith("openstack-placement 16.")
    assert beside["value"] > 0
    assert beside["peer_value"] > 0
    assert beside["ratio"] == pytest.approx(beside["value"] / beside["peer_value"], rel=0.01)
    assert rows["ledger.hot_host_with_room_for_50.accepted"]["met"]
    assert rows["ledger.oversold_or_miscounted"]["met"]
