from __future__ import annotations

import pytest

from .server import DB, WEB, accepted, items

ROW = {"id": DB, "name": "db", "phase": "running", "power": "on", "owner": {"kind": "vm", "id": DB}}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"


@pytest.fixture
def db(server):
    server.answers["GET", f"projects/{WEB}/vms"] = items(ROW)
    for act in ("start", "stop", "restart", "resize"):
        server.answers["POST", f"vms/{DB}/{act}"] = accepted(f"vm.{act}", vm=ROW)
    return server


@pytest.mark.parametrize(
    ("said", "act", "body"),
    [
        (("start",), "start", {}),
        (("stop",), "stop", {}),
        (("stop", "--within", "5m"), "stop", {"within_s": 300}),
        (("stop", "--hard"), "stop", {"within_s": 0}),
        (("restart", "--within", "30s"), "restart", {"within_s": 30}),
        (("resize", "--flavor", "medium"), "resize", {"flavor": "medium", "may_stop": False}),
        (
            ("resize", "--size", "vcpu=4,memory=8GiB,storage=40GiB", "--may-stop"),
            "resize",
            {"vcpu": 4, "memory_mib": 8192, "disk_gib": 40, "may_stop": True},
        ),
    ],
)
def test_an_act_says_what_was_said_and_no_more(said, act, body, facet, db) -> None:
    command, *options = said
    ran = facet("vm", command, "db", "--project", "acme/web", *options)

    assert ran.code == 0, ran.err
    assert db.writes() == [("POST", f"vms/{DB}/{act}", body)]


@pytest.mark.parametrize(
    "said",
    [
        ("stop", "--hard", "--within", "5m"),
        ("stop", "--within", "soon"),
        ("resize",),
        ("resize", "--flavor", "medium", "--size", "vcpu=4"),
        ("resize", "--size", "vcpu=unlimited"),
        ("resize", "--size", "vms=1"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(said, facet, db) -> None:
    command, *options = said
    ran = facet("vm", command, "db", "--project", "acme/web", *options)

    assert ran.code == 2
    assert db.writes() == []


def test_a_console_is_printed_as_it_is(facet, db) -> None:
    db.answers["GET", f"vms/{DB}/console"] = (200, {"text": "booting\nready\n"})

    ran = facet("vm", "console", "db", "--project", "acme/web")

    assert (ran.code, ran.out) == (0, "booting\nready\n")


def test_user_data_and_public_keys_are_read_from_files(facet, server, tmp_path) -> None:
    server.answers["POST", f"projects/{WEB}/vms"] = accepted("vm.create", vm=ROW)
    (tmp_path / "app.yaml").write_text("#cloud-config\n{}\n")
    (tmp_path / "key.pub").write_text(f"# mine\n{KEY}\n")
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    ask = ("vm", "create", "db", "--project", "acme/web", "--zone", "az1")

    ran = facet(*ask, "--user-data", str(tmp_path / "app.yaml"), "--ssh-key", str(tmp_path / "key.pub"))
    private = facet(*ask, "--ssh-key", str(tmp_path / "key"))
    nothing = facet(*ask, "--user-data", str(tmp_path / "nothing"))

    assert ran.code == 0, ran.err
    (_, _, body), *more = server.writes()
    assert (body["user_data"], body["ssh_keys"], more) == ("#cloud-config\n{}\n", [KEY], [])
    assert (private.code, nothing.code) == (2, 2)
    assert "private key" in private.err
