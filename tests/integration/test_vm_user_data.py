"""What a team has its guest do at the first boot: it reaches the guest once, and is kept nowhere in the clear."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import yaml
from django.db import connections
from django.utils import timezone

from facet.operations.models import Wakeup
from facet.workloads.models import VM
from tests import work
from tests.factories import as_system

from .test_vm_power import RUNS, done, power
from .test_vms import ask, deleted, shown, till_the_end

SECRET = "correct horse battery staple"
USER_DATA = f"""#cloud-config
write_files:
  - path: /etc/app.conf
    content: "password: {SECRET}"
    permissions: '0600'
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"


def boot_data(land, asked):
    """What lies at the site for the guest to read."""
    config = land.site.by_hand.extra_config(asked["vm"]["id"])
    packed = config.get("guestinfo.userdata")
    return gzip.decompress(base64.b64decode(packed)).decode() if packed else None


def everywhere_in_the_database():
    """The text of every row of every table."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("select table_name from information_schema.tables where table_schema = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        texts = []
        for name in tables:
            cursor.execute(f"select coalesce(string_agg(to_jsonb(r)::text, chr(10)), '') from \"{name}\" r")
            texts.append(cursor.fetchone()[0])
    return "\n".join(texts)


def read_by_the_guest(tmp_path, path):
    """A file on the disk of the only guest."""
    with sqlite3.connect(next(Path(tmp_path).rglob("guests.sqlite"))) as disk:
        return disk.execute("select content from files where path = ?", [path]).fetchone()


def test_user_data_reaches_the_guest_and_nothing_else(land, tmp_path, caplog):
    land.site.by_hand.inject("power", "down")  # so that its boot data lies at the site and is not read yet
    body = {"name": "db", "zones": land.zones, "user_data": USER_DATA, "ssh_keys": [KEY, KEY]}
    asked = land.editor.post(f"{land.project}/vms", body, Idempotency_Key="k")
    assert asked.status == 202, asked
    seen = [json.dumps(asked.body), everywhere_in_the_database()]
    work.until(lambda: shown(land, asked)["phase"] == "built")
    given = yaml.safe_load(boot_data(land, asked))
    assert (given["ssh_authorized_keys"], given["write_files"]) == ([KEY], yaml.safe_load(USER_DATA)["write_files"])
    with as_system():
        assert VM.objects.get().user_data_sealed  # until it has booted
    work.succeed(land.editor, asked)
    (content,) = read_by_the_guest(tmp_path, "/etc/app.conf")
    assert content.decode() == f"password: {SECRET}"
    assert boot_data(land, asked) is None
    with as_system():
        vm = VM.objects.get()
        assert (vm.user_data_sealed, vm.wiped_at is not None) == (None, True)
        assert not Wakeup.objects.filter(kind="vm").exists()
    seen += [json.dumps(land.editor.get(path).body) for path in (f"vms/{vm.id}", "events", "operations")]
    seen += [land.editor.post(f"{land.project}/vms", body, Idempotency_Key="k").body, everywhere_in_the_database()]
    assert not any(SECRET in str(text) or "app.conf" in str(text) for text in (*seen, caplog.text))
    assert KEY not in caplog.text
    deleted(land, asked)


def test_killed_at_any_statement_it_is_given_once_and_wiped(land, tmp_path):
    asked = ask(land, user_data=USER_DATA)
    till_the_end(land, asked)
    work.succeed(land.editor, asked)
    work.until(lambda: not Wakeup.objects.filter(kind="vm").exists())
    assert read_by_the_guest(tmp_path, "/etc/app.conf")
    assert boot_data(land, asked) is None
    with as_system():
        assert VM.objects.get().user_data_sealed is None
    deleted(land, asked)


def test_made_anew_before_it_ran_it_is_given_again(land, tmp_path):
    land.site.by_hand.inject("power", "down")
    asked = ask(land, user_data=USER_DATA)
    work.until(lambda: shown(land, asked)["phase"] == "built")
    land.site.by_hand.delete_vm(asked["vm"]["id"])
    work.succeed(land.editor, asked)
    assert read_by_the_guest(tmp_path, "/etc/app.conf")
    deleted(land, asked)


def test_one_that_is_made_off_reads_it_when_it_is_started(land, tmp_path):
    asked = ask(land, user_data=USER_DATA, power="off")
    work.succeed(land.editor, asked)
    assert boot_data(land, asked) is None  # given with the first power-on, and not before
    done(land, asked, "start")
    assert read_by_the_guest(tmp_path, "/etc/app.conf")
    assert (boot_data(land, asked), power(land, asked)) == (None, RUNS)
    deleted(land, asked)


def test_a_guest_that_tells_no_address_is_given_time_and_then_its_boot_data_is_wiped(land):
    asked = ask(land, user_data=USER_DATA)
    with as_system():
        VM.objects.update(network=None)
    work.succeed(land.editor, asked)
    with as_system():
        VM.objects.update(address=None)
    assert boot_data(land, asked)
    land.site.by_hand.hand("guest", key=asked["vm"]["id"], addresses=[])
    work.until(lambda: Wakeup.objects.filter(kind="vm", due_at__gt=timezone.now() + timedelta(seconds=60)).exists())
    with as_system():
        VM.objects.update(booted_at=timezone.now() - timedelta(minutes=6))
        Wakeup.objects.filter(kind="vm").update(due_at=timezone.now())
    work.until(lambda: not Wakeup.objects.filter(kind="vm").exists())
    assert boot_data(land, asked) is None
    with as_system():
        assert VM.objects.get().user_data_sealed is None


def test_what_is_no_cloud_config_or_no_key_is_refused_and_not_repeated(land):
    bomb = "b0: &b0 {x: 1}\\n" + "".join(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}\\n" for n in range(1, 60))
    for bad in (
        SECRET,
        f"#!/bin/sh\necho {SECRET}\n",
        f"#cloud-config\n- {SECRET}\n",
        f"#cloud-config\na: [{SECRET}\n",
        f"#cloud-config\na: !!timestamp {SECRET}\n",
        f"#cloud-config\na: !!python/object:os.system {SECRET}\n",
        "#cloud-config\n" + "[" * 20_000,
        f"#cloud-config\n{bomb}",
        "#cloud-config\na: " + "9" * 5000 + "\n",
        "#cloud-config\nssh_authorized_keys: ssh-ed25519\n",
        "#cloud-config\na: " + SECRET * 4000,
        "#cloud-config\na: \x07\n",
    ):
        refused = ask(land, user_data=bad)
        assert (refused.status, list(refused["errors"])) == (422, ["user_data"]), bad[:80]
        assert SECRET not in str(refused.body)
    private = "-----BEGIN OPENSSH PRIVATE KEY-----"
    for bad in (private, "ssh-ed25519", "ssh-ed25519 AAAA", KEY.replace("ssh-ed25519", "ssh-rsa"), f"{KEY}\n{KEY}",
                f'command="x" {KEY}', "ssh-dss AAAA", ""):  # fmt: skip
        refused = ask(land, ssh_keys=[bad])
        assert (refused.status, list(refused["errors"])) == (422, ["ssh_keys.0"]), bad
        assert "PRIVATE" not in str(refused.body)
    with as_system():
        assert not VM.objects.exists()
