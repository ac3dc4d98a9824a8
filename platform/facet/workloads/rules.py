"""Rules for the host of a machine, and for where its disk lies.

As JSON: policy, require, prefer, avoid, storage_class ("" is any).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler.core.ask import Policy

Rules = Mapping[str, Any]
NO_RULES: Rules = {"policy": Policy.SPREAD.value, "require": {}, "prefer": {}, "avoid": {}, "storage_class": ""}


def of_ask(rules: Rules) -> dict[str, Any]:
    """What an ask says of them. It is kept with the allocation, so that a drain or a replay asks the same again."""
    labels = {kind: tuple(sorted(rules[kind].items())) for kind in ("require", "prefer", "avoid")}
    return {"policy": Policy(rules["policy"]), "storage_class": rules["storage_class"] or None, **labels}
