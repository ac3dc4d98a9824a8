"""Sealed values open with their key and for their owner alone, whatever happened to them meanwhile."""

import base64
import json
import stat

import pytest

from facet.rest.secrets import CannotOpen, Ring

ONE, TWO = {"k1": b"1" * 32}, {"k1": b"1" * 32, "k2": b"2" * 32}


def test_a_value_opens_for_its_owner_alone():
    ring = Ring("k1", ONE)
    sealed = ring.seal(b"password", "site:1")
    assert b"password" not in sealed
    assert ring.open(sealed, "site:1") == b"password"
    with pytest.raises(CannotOpen):
        ring.open(sealed, "site:2")


def test_the_same_value_is_never_sealed_the_same():
    ring = Ring("k1", ONE)
    assert len({ring.seal(b"x", "o") for _ in range(100)}) == 100


def test_an_older_key_opens_and_the_current_one_seals():
    old = Ring("k1", ONE).seal(b"x", "o")
    both = Ring("k2", TWO)
    assert both.open(old, "o") == b"x"
    assert both.seal(b"x", "o").startswith(b"k2:")
    with pytest.raises(CannotOpen):
        Ring("k2", {"k2": TWO["k2"]}).open(old, "o")


@pytest.mark.parametrize("place", [0, 2, 5, 14, -1])
def test_a_changed_byte_is_found(place):
    ring = Ring("k1", ONE)
    sealed = bytearray(ring.seal(b"password", "o"))
    sealed[place] ^= 1
    with pytest.raises(CannotOpen):
        ring.open(bytes(sealed), "o")


@pytest.mark.parametrize("cut", [0, 1, 3, 10, 20])
def test_a_value_that_was_cut_off_is_found(cut):
    ring = Ring("k1", ONE)
    with pytest.raises(CannotOpen):
        ring.open(ring.seal(b"password", "o")[:cut], "o")


def test_a_ring_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "keys.json"
    Ring.make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Ring.read(path).open(Ring.read(path).seal(b"x", "o"), "o") == b"x"
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Ring.make(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "found",
    [{"current": "k2", "keys": {"k1": base64.b64encode(b"1" * 32).decode()}},
     {"current": "k1", "keys": {"k1": base64.b64encode(b"short").decode()}}],
)  # fmt: skip
def test_what_is_no_ring_is_refused(tmp_path, found):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match="not a ring"):
        Ring.read(path)
