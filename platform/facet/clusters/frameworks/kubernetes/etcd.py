"""Members of a cluster's etcd, through its JSON gateway on a control plane that stays.

Ids are strings of decimal digits: 64 bits do not fit into JSON's numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from facet.clusters.frameworks.base import ClusterRefused, NotAnswering
from facet.clusters.frameworks.kubernetes.client import ask, said

PORT = 2379


@dataclass(frozen=True)
class Member:
    id: str
    name: str  # "" until it has started
    peer_urls: tuple[str, ...]


def list_members(http: httpx.Client) -> list[Member]:
    """Raises NotAnswering, also for `unhealthy cluster` (for some seconds after a start)."""
    try:
        found = _call(http, "list").get("members") or ()
        return [
            Member(str(member["ID"]), str(member.get("name", "")), tuple(member.get("peerURLs") or ()))
            for member in found
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotAnswering("nonsense", f"{http.base_url} answers what no etcd would.") from None


def remove_member(http: httpx.Client, member_id: str) -> None:
    """Gone afterwards, whether it was there or not."""
    try:
        _call(http, "remove", {"ID": member_id})
    except ClusterRefused as refusal:
        if refusal.status != 404 and "not found" not in refusal.sentence:
            raise


def remove_node(open_at: Callable[[str], httpx.Client], node: str, address: str, others: Sequence[str]) -> bool:
    """Take the member of a control plane out, by its name or (never started) its address. True where it was there.

    open_at: a client for one control plane's address; those in `others` are asked in turn until one answers.
    """
    last = NotAnswering("no_control_plane", "No other control plane is left to ask about etcd's members.")
    for other in (one for one in others if one != address):  # a member is never asked to remove itself
        with open_at(other) as http:
            try:
                return _remove(http, node, address)
            except NotAnswering as silent:
                last = silent
    raise last


def _remove(http: httpx.Client, node: str, address: str) -> bool:
    # The whole host is compared: 10.0.0.1 must not be found in 10.0.0.11.
    at_address = re.compile(rf"https?://{re.escape(address)}(:\d+)?/?")
    gone = [
        member
        for member in list_members(http)
        if member.name == node
        or (not member.name and address and any(at_address.fullmatch(url) for url in member.peer_urls))
    ]
    for member in gone:
        remove_member(http, member.id)
    return bool(gone)


def _call(http: httpx.Client, verb: str, body: dict[str, str] | None = None) -> dict[str, list[dict[str, str]]]:
    answer = ask(http, "POST", f"/v3/cluster/member/{verb}", json=body or {})
    if not answer.is_success:
        raise ClusterRefused(answer.status_code, said(answer))
    found: dict[str, list[dict[str, str]]] = answer.json()
    return found
