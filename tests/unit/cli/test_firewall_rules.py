"""A rule as people write it, and as the API takes it."""

from __future__ import annotations

import pytest

from facet.cli.commands.firewall import rule
from facet.cli.faults import Usage


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("deny in", {"action": "deny", "direction": "in"}),
        ("allow out icmp", {"action": "allow", "direction": "out", "protocol": "icmp"}),
        ("deny out 192.0.2.0/24", {"action": "deny", "direction": "out", "remote": "192.0.2.0/24"}),
        (
            "allow in tcp:22 10.0.0.0/8",
            {"action": "allow", "direction": "in", "protocol": "tcp", "ports": [22, 22], "remote": "10.0.0.0/8"},
        ),
        (
            "allow in udp:8000-8999 2001:db8::/32",
            {"action": "allow", "direction": "in", "protocol": "udp", "ports": [8000, 8999], "remote": "2001:db8::/32"},
        ),
    ],
)
def test_a_rule_is_sent_as_it_is_written(text, sent):
    assert rule(text) == sent


@pytest.mark.parametrize(
    "text", ["", "allow", "maybe in", "allow up", "deny in tcp:", "deny in tcp:x", "deny in 1/2 3/4"]
)
def test_what_is_no_rule_is_not_sent(text):
    with pytest.raises(Usage):
        rule(text)
