"""Names and forms of what Facet writes into a VM's extraConfig: who it is, and what cloud-init reads in its guest.

*Wiped* means absent, empty or `---`.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Mapping

KEY, VERSION, BOOTED = "facet.key", "facet.version", "facet.booted"
GUESTINFO = "guestinfo."
USERDATA, METADATA = "guestinfo.userdata", "guestinfo.metadata"
ENCODING = "gzip+base64"
WIPED = ("", "---")
LARGEST_VALUE = 64 * 1024  # of a guestinfo value


def packed(name: str, text: str) -> dict[str, str]:
    """A guestinfo value as cloud-init reads it. The same text gives the same value."""
    raw = gzip.compress(text.encode(), mtime=0)
    return {name: base64.b64encode(raw).decode(), f"{name}.encoding": ENCODING}


def unpacked(extra: Mapping[str, str], name: str) -> str | None:
    """The text of a guestinfo value; None where it is absent, wiped or not to be read."""
    value = extra.get(name, "")
    if value in WIPED:
        return None
    try:
        raw = base64.b64decode(value) if "base64" in extra.get(f"{name}.encoding", "") else value.encode()
        return (gzip.decompress(raw) if "gzip" in extra.get(f"{name}.encoding", "") else raw).decode()
    except (binascii.Error, OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None
