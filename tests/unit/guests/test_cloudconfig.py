"""Cloud-init's input is read strictly: what the real one would shrug at is a failed boot that says where."""

from __future__ import annotations

import base64
import gzip
import random

import pytest
import yaml

from infra.simulator.guests import cloudconfig
from infra.simulator.guests.cloudconfig import BadUserData, File
from tests.unit.guests.userdata import guestinfo, packed

FILE = {"path": "/run/facet/note", "owner": "root:root", "permissions": "0600", "content": "text"}


def seed(config):
    return cloudconfig.seed(guestinfo(config, "an-instance", "shop-cp"))


def test_what_is_right_is_read_as_cloud_init_reads_it():
    files = [
        FILE,
        {"path": "/a", "content": base64.b64encode(b"\x00\xff").decode(), "encoding": "b64"},
        {"path": "/b", "content": packed("long"), "encoding": "gz+b64", "owner": "root"},
    ]
    found = seed({"hostname": "shop-cp", "write_files": files, "runcmd": ["touch /c", ["touch", "/d"]]})
    assert (found.instance, found.hostname) == ("an-instance", "shop-cp")
    assert found.files == (
        File("/run/facet/note", 0o600, "root:root", b"text"),
        File("/a", 0o644, "root:root", b"\x00\xff"),
        File("/b", 0o644, "root", b"long"),
    )
    assert found.commands == ("touch /c", ["touch", "/d"])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"run_cmd": []}, "userdata: unknown key run_cmd"),
        ({"write_files": [{**FILE, "mode": "0600"}]}, r"write_files\[0\]: unknown key mode"),
        ({"write_files": [{**FILE, "permissions": 600}]}, r"write_files\[0\].permissions"),
        ({"write_files": [{**FILE, "permissions": "600"}]}, r"write_files\[0\].permissions"),
        ({"write_files": [{**FILE, "permissions": "0888"}]}, r"write_files\[0\].permissions"),
        ({"write_files": [{**FILE, "permissions": "04755"}]}, r"write_files\[0\].permissions"),
        ({"write_files": [FILE, {**FILE, "path": "run/note"}]}, r"write_files\[1\].path: .* is not absolute"),
        ({"write_files": [{"content": "text"}]}, r"write_files\[0\].path"),
        ({"write_files": [{**FILE, "owner": "root; rm"}]}, r"write_files\[0\].owner"),
        ({"write_files": [{**FILE, "content": 7}]}, r"write_files\[0\].content"),
        ({"write_files": [{**FILE, "encoding": "zip"}]}, r"write_files\[0\].encoding"),
        ({"write_files": [{**FILE, "encoding": "b64", "content": "§"}]}, r"write_files\[0\].content"),
        ({"write_files": [{**FILE, "encoding": "gz+b64", "content": "dGV4dA=="}]}, r"write_files\[0\].content"),
        ({"write_files": "none"}, "write_files: is not a list"),
        ({"write_files": ["/run/note"]}, r"write_files\[0\]: is not a mapping"),
        ({"runcmd": "kubeadm init"}, "runcmd: is not a list"),
        ({"runcmd": [{"kubeadm": "init"}]}, r"runcmd\[0\]"),
        ({"runcmd": [[]]}, r"runcmd\[0\]"),
        ({"hostname": ["shop"]}, "hostname: is not a string"),
        ({"preserve_hostname": "no"}, "preserve_hostname"),
        ({"cleanup-guestinfo": ["everything"]}, "cleanup-guestinfo"),
        ({"users": [{"uid": 0}]}, r"users\[0\]: unknown key uid"),
        ({"users": [{"gecos": "nobody"}]}, r"users\[0\].name"),
        ("#!/bin/sh\nkubeadm init\n", "first line is not #cloud-config"),
        ("## template: jinja\n#cloud-config\n", "first line is not #cloud-config"),
        ("#cloud-config\na: [", "is not YAML"),
        ("#cloud-config\n- runcmd\n", "userdata: is not a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(config, said):
    with pytest.raises(BadUserData, match=said):
        seed(config)


def test_a_value_that_guestinfo_could_not_hold_is_refused():
    noise = base64.b64encode(random.Random(1).randbytes(80_000)).decode()
    with pytest.raises(BadUserData, match="at most 65536"):
        seed({"write_files": [{**FILE, "content": noise}]})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"userdata": "x", "userdata.encoding": "zip"}, "userdata.encoding"),
        ({"userdata": "not base64", "userdata.encoding": "gzip+base64"}, "userdata: is not gzip"),
        ({"metadata": packed("instance: a"), "metadata.encoding": "gzip+base64"}, "metadata: unknown key instance"),
        ({"metadata": packed("{a"), "metadata.encoding": "gzip+base64"}, "metadata: is not YAML"),
    ],
)
def test_guestinfo_that_cannot_be_read_is_refused(values, said):
    with pytest.raises(BadUserData, match=said):
        cloudconfig.seed(values)


@pytest.mark.parametrize("wiped", [{}, {"guestinfo.userdata": ""}, {"userdata": "---", "userdata.encoding": ""}])
def test_wiped_user_data_is_none_and_no_fault(wiped):
    found = cloudconfig.seed({"metadata": yaml.safe_dump({"instance-id": "an-instance"}), **wiped})
    assert (found.instance, found.files, found.commands) == ("an-instance", (), ())


def test_what_unfolds_without_end_is_refused():
    bomb = gzip.compress(b"#cloud-config\n# " + b"x" * 40_000_000)
    value = base64.b64encode(bomb).decode()
    with pytest.raises(BadUserData, match="unfolds to more than"):
        cloudconfig.seed({"userdata": value, "userdata.encoding": "gzip+base64"})


# --- what a guest does with it -------------------------------------------------------------------------------------


def test_a_boot_that_fails_says_why_on_its_console_and_writes_nothing(site):
    said = site.fails("shop-cp", {"write_files": [{**FILE, "permissions": 600}], "runcmd": ["touch /done"]})
    assert "cloud-init: write_files[0].permissions: 600 is not a string such as '0600'" in said
    (record,) = site.house.disk.records()
    assert site.house.disk.files(record.key) == {}


def test_files_stand_with_their_modes_and_commands_have_run(site):
    key = site.works("shop-cp", {"write_files": [FILE], "runcmd": ["mkdir -p /run && touch /run/done"]})
    files = site.house.disk.files(key)
    assert files["/run/facet/note"] == (0o600, "root:root", b"text")
    assert "/run/done" in files


@pytest.mark.parametrize(
    "command", ["curl https://example.com", "touch /a | touch /b", "touch /a; touch /b", "kubelet"]
)
def test_a_command_outside_the_vocabulary_ends_in_127(site, command):
    assert "command not found" in site.fails("shop-cp", {"runcmd": [command]})


def test_what_hangs_on_a_failure_is_left_out_and_what_follows_runs(site):
    key = site.boot("shop-cp", {"runcmd": ["nonsense && touch /after", "touch /next"]})
    assert site.house.boot_state(key) == "failed"
    assert set(site.house.disk.files(key)) == {"/next"}
