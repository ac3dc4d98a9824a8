"""A VM's network cards in cloud-init's metadata: it names them before they exist, and so by their number.

Guests tell cards apart by their MACs alone, which the layer gives: whoever makes the cards puts them in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAMED = re.compile(r"\$\{mac:(\d{1,2})\}")


def mac_of_card(number: int) -> str:
    """What stands in metadata for the MAC of this card, counted from 0."""
    return f"${{mac:{number}}}"


def names_cards(metadata: str) -> bool:
    """Whether it can be written only when the cards are there."""
    return _NAMED.search(metadata) is not None


def with_macs(metadata: str, macs: Sequence[str]) -> str | None:
    """The text as the guest is to read it; None while a card that it names has no MAC."""
    if any(int(found) >= len(macs) or not macs[int(found)] for found in _NAMED.findall(metadata)):
        return None
    return _NAMED.sub(lambda found: macs[int(found[1])], metadata)
