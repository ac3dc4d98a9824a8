"""etcd's JSON gateway on a control plane's :2379, as far as scaling control planes needs it: health, list, remove."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from infra.simulator.guests.api.message import Request, Response, answer
from infra.simulator.guests.disk import Member

UNAVAILABLE, NOT_FOUND = 14, 5  # gRPC's codes


class EtcdCluster(Protocol):
    """The etcd cluster that a member belongs to."""

    def etcd_members(self) -> list[Member]: ...

    def etcd_healthy(self) -> bool: ...

    def member_address(self, member: Member) -> str: ...

    def remove_member(self, member_id: str) -> bool: ...


class Gateway:
    """Answers for one member."""

    def __init__(self, cluster: EtcdCluster) -> None:
        self._cluster = cluster

    def answer(self, request: Request, peer: Mapping[str, Any] | None) -> Response:
        if request.path == "/health":
            healthy = self._cluster.etcd_healthy()
            reason = "" if healthy else "RAFT NO LEADER"
            return answer({"health": str(healthy).lower(), "reason": reason}, 200 if healthy else 503)
        if request.method != "POST" or request.path not in ("/v3/cluster/member/list", "/v3/cluster/member/remove"):
            return answer({"error": "Not Found", "code": NOT_FOUND, "message": "Not Found"}, 404)
        if not self._cluster.etcd_healthy():
            return _fault("etcdserver: unhealthy cluster", UNAVAILABLE, 503)
        if request.path.endswith("remove"):
            return self._remove(request)
        return answer({"header": {}, "members": self._members()})

    def _remove(self, request: Request) -> Response:
        try:
            member_id = str(json.loads(request.body or b"{}").get("ID", ""))
        except (ValueError, AttributeError):
            return _fault("the body is not a JSON object", 3, 400)
        if not self._cluster.remove_member(member_id):
            return _fault("etcdserver: member not found", NOT_FOUND, 404)
        return answer({"header": {}, "members": self._members()})

    def _members(self) -> list[dict[str, Any]]:
        return [
            {
                "ID": member.id,
                "name": member.name,
                "peerURLs": [f"https://{self._cluster.member_address(member)}:2380"],
                "clientURLs": [f"https://{self._cluster.member_address(member)}:2379"],
            }
            for member in self._cluster.etcd_members()
        ]


def _fault(message: str, code: int, status: int) -> Response:
    return answer({"error": message, "code": code, "message": message, "details": []}, status)
