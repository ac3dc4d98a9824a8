from __future__ import annotations

import pytest

from .server import DB, WEB, accepted, items

ROW = {"id": DB, "name": "data", "phase": "ready", "size_gib": 20, "vm": {"id": DB, "name": "db"}, "zone": "az1"}


@pytest.fixture
def data(server):
    server.answers["GET", f"projects/{WEB}/volumes"] = items(ROW)
    server.answers["POST", f"projects/{WEB}/volumes"] = accepted("volume.create", volume=ROW)
    server.answers["PATCH", f"volumes/{DB}"] = accepted("volume.grow", volume=ROW)
    for act in ("attach", "detach"):
        server.answers["POST", f"volumes/{DB}/{act}"] = accepted(f"volume.{act}", volume=ROW)
    taken = {"id": DB, "name": "before", "phase": "pending"}
    server.answers["POST", f"volumes/{DB}/snapshots"] = accepted("volume-snapshot.create", volume_snapshot=taken)
    return server


@pytest.mark.parametrize(
    ("said", "write"),
    [
        (
            ("create", "data", "--zone", "az1", "--size", "20GiB", "--storage-class", "fast"),
            (
                "POST",
                f"projects/{WEB}/volumes",
                {"name": "data", "zone": "az1", "size_gib": 20, "storage_class": "fast"},
            ),
        ),
        (("attach", "data", "--vm", "db"), ("POST", f"volumes/{DB}/attach", {"vm": "db"})),
        (("detach", "data"), ("POST", f"volumes/{DB}/detach", {})),
        (("grow", "data", "--size", "1TiB"), ("PATCH", f"volumes/{DB}", {"size_gib": 1024})),
        (("snapshot", "data", "before"), ("POST", f"volumes/{DB}/snapshots", {"name": "before"})),
    ],
)
def test_what_is_said_of_a_volume_is_asked_once(said, write, facet, data) -> None:
    ran = facet("volume", *said, "--project", "acme/web")

    assert ran.code == 0, ran.err
    assert data.writes() == [write]


def test_volumes_are_listed_with_who_has_them(facet, data) -> None:
    ran = facet("volume", "list", "--project", "acme/web")

    assert ran.code == 0, ran.err
    assert "20 GiB" in ran.out
    assert "db" in ran.out


@pytest.mark.parametrize("size", ["unlimited", "much", "0.5GiB"])
def test_a_size_that_is_none_is_a_usage_error(size, facet, data) -> None:
    ran = facet("volume", "grow", "data", "--size", size, "--project", "acme/web")

    assert ran.code == 2
    assert data.writes() == []
