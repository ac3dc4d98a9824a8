"""A stand-in for Facet's server: a real HTTP server on loopback that speaks the shapes of the API.

It stands here so that the command line is tested alone, as the client that it is; the same commands meet the real
server in the tests of the main job. It keeps what it was sent, and answers what a test tells it to.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, Any]


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


def uid(number: int) -> str:
    return f"0190a0de-0000-7000-8000-{number:012d}"


ACME, WEB, CI, SHOP, WORKERS, OP, DC1, DB = (uid(number) for number in range(1, 9))
STAMP = "2026-01-02T03:04:05+00:00"
TENANT = {"id": ACME, "name": "acme", "description": "", "created_at": STAMP, "generation": 1}
PROJECT = {"id": WEB, "name": "web", "tenant": {"id": ACME, "name": "acme"}, "created_at": STAMP}
CLUSTER = {
    "id": SHOP, "name": "shop", "phase": "ready", "reason": None, "simulated": True, "version": "v1.34.2",
    "project": {"id": WEB, "name": "web"}, "tenant": {"id": ACME, "name": "acme"}, "endpoint": "127.20.0.10:6443",
    "zones": ["az1"], "control_planes": {"count": 1, "flavor": "small", "ready": 1}, "created_at": STAMP,
    "node_pools": [{"id": WORKERS, "name": "workers", "size": 3, "flavor": "small", "ready": 3}],
}  # fmt: skip


def operation(
    verb: str = "cluster.create", phase: str = "succeeded", *, problem: Any = None, steps: Any = ()
) -> dict[str, Any]:
    target = {"kind": verb.partition(".")[0], "id": SHOP, "name": "shop"}
    return {
        "id": OP, "verb": verb, "target": target, "phase": phase, "steps": list(steps), "done": 0, "total": 0,
        "problem": problem, "created_at": STAMP, "ended_at": None, "generation": 1,
    }  # fmt: skip


def problem(status: int, code: str, detail: str, **more: Any) -> Answer:
    return status, {"type": "about:blank", "title": "x", "status": status, "code": code, "detail": detail, **more}


def accepted(verb: str, **more: Any) -> Answer:
    return 202, {"operation": operation(verb), **more}


def items(*rows: Any) -> Answer:
    return 200, {"items": list(rows), "next": None}


class Server:
    """`answers[(method, path)]` is an answer, a list taken one by one (the last one stays), or a function."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: dict[tuple[str, str], Answer | list[Answer] | Callable[[Request], Answer]] = dict(_WORLD)
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, request: Request) -> Answer:
        with self.lock:
            self.requests.append(request)
            found = self.answers.get((request.method, request.path))
            if isinstance(found, list):
                found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            return found(request)
        if found is None:
            return problem(404, "not_found", f"There is no {request.path}.")
        status, body = found
        if request.method == "GET" and isinstance(body, dict) and "items" in body and "name" in request.query:
            body = {**body, "items": [row for row in body["items"] if row.get("name") == request.query["name"]]}
        return status, body

    def writes(self) -> list[tuple[str, str, Any]]:
        """What changes something: (method, path, body)."""
        return [(seen.method, seen.path, seen.body) for seen in self.requests if seen.method != "GET"]


_WORLD: dict[tuple[str, str], Any] = {
    ("GET", "tenants"): items(TENANT),
    ("GET", "projects"): items(PROJECT, {**PROJECT, "id": uid(90), "tenant": {"id": uid(91), "name": "other"}}),
    ("GET", f"projects/{WEB}/service-accounts"): items({"id": CI, "name": "ci"}),
    ("GET", f"projects/{WEB}/clusters"): items(CLUSTER),
    ("GET", f"clusters/{SHOP}"): (200, CLUSTER),
    ("GET", f"operations/{OP}"): (200, operation()),
    ("GET", "operations"): items(operation()),
    ("GET", "events"): (200, {"items": [{"cursor": "1", "at": STAMP, "verb": "login"}], "next": "1"}),
    ("GET", "me"): (200, {"kind": "user", "id": uid(50), "name": "ada", "roles": [], "stream_url": "", "version": "0"}),
    ("POST", "login"): (201, {"token": "t0ken", "expires_at": STAMP, "user": {"id": uid(50), "name": "ada"}}),
    ("POST", "logout"): (204, None),
    ("POST", "sites"): accepted("site.add", site={"id": DC1, "name": "dc1", "phase": "pending"}),
    ("GET", f"sites/{DC1}"): (200, {"id": DC1, "name": "dc1", "phase": "ready"}),
    ("POST", "zones"): accepted("zone.create", zone={"id": uid(20), "name": "az1"}),
    ("GET", f"zones/{uid(20)}"): (200, {"id": uid(20), "name": "az1", "phase": "active"}),
    ("GET", "zones"): items({"id": uid(20), "name": "az1"}),
    ("PATCH", f"zones/{uid(20)}"): accepted("zone.update", zone={"id": uid(20), "name": "az1"}),
    ("GET", f"zones/{uid(20)}/storage-classes"): items({"id": uid(60), "name": "fast"}),
    ("POST", f"zones/{uid(20)}/storage-classes"): (201, {"id": uid(60), "name": "fast"}),
    ("PATCH", f"storage-classes/{uid(60)}"): (200, {"id": uid(60), "name": "fast"}),
    ("DELETE", f"storage-classes/{uid(60)}"): (204, None),
    ("POST", "images"): (201, {"id": uid(21), "name": "kube-v1.34", "warnings": []}),
    ("POST", "addons"): (201, {"id": uid(22), "name": "facet-cni", "kind": "cni", "version": "v1"}),
    ("POST", "tenants"): (201, TENANT),
    ("POST", f"tenants/{ACME}/pools"): accepted("pool.create", pool={"id": uid(23), "name": "az1"}),
    ("GET", f"pools/{uid(23)}"): (200, {"id": uid(23), "name": "az1", "reserved": {"vcpu": 8}}),
    ("GET", f"tenants/{ACME}/pools"): items({"id": uid(23), "name": "az1", "zone": "az1", "zone_id": uid(20)}),
    ("GET", f"projects/{WEB}/pools"): items({"id": uid(24), "name": "az1", "zone": "az1", "zone_id": uid(20)}),
    ("PATCH", f"pools/{uid(23)}"): accepted("pool.update", pool={"id": uid(23), "name": "az1"}),
    ("POST", f"pools/{uid(24)}/transfer"): accepted("pool.transfer", pool={"id": uid(24), "name": "az1"}),
    ("POST", f"pools/{uid(23)}/take-spare"): accepted("pool.take-spare", pool={"id": uid(23), "name": "az1"}),
    ("GET", f"pools/{uid(24)}"): (200, {"id": uid(24), "name": "az1", "reserved": {"vcpu": 8}}),
    ("POST", "users"): (201, {"id": uid(50), "name": "ada"}),
    ("POST", f"tenants/{ACME}/members"): (201, {"id": uid(51), "role": "tenant-admin"}),
    ("POST", f"tenants/{ACME}/projects"): (201, PROJECT),
    ("POST", f"projects/{WEB}/service-accounts"): (201, {"id": CI, "name": "ci"}),
    ("POST", f"service-accounts/{CI}/tokens"): (201, {"id": uid(52), "token": "s3cret", "expires_at": STAMP}),
    ("POST", f"projects/{WEB}/clusters"): accepted("cluster.create", cluster={**CLUSTER, "phase": "pending"}),
    ("PATCH", f"node-pools/{WORKERS}"): accepted("cluster.scale", node_pool={"id": WORKERS, "size": 5}),
    ("DELETE", f"clusters/{SHOP}"): accepted("cluster.delete", cluster=CLUSTER),
    ("GET", f"projects/{WEB}/vms"): items({"id": DB, "name": "db"}),
    ("GET", f"vms/{DB}"): (200, {"id": DB, "name": "db", "phase": "running"}),
    ("POST", f"projects/{WEB}/vms"): accepted("vm.create", vm={"id": DB, "name": "db", "phase": "pending"}),
    ("DELETE", f"vms/{DB}"): accepted("vm.delete", vm={"id": DB, "name": "db"}),
    ("GET", f"projects/{WEB}/networks"): items({"id": uid(70), "name": "lan"}),
    ("GET", f"networks/{uid(70)}/addresses"): items(
        {"id": uid(71), "address": "10.0.0.5", "name": "api", "network": "lan", "vm": None, "created_at": STAMP},
    ),
    ("POST", f"networks/{uid(70)}/addresses"): (201, {"id": uid(71), "address": "10.0.0.5", "name": "api"}),
    ("DELETE", f"addresses/{uid(71)}"): (204, None),
    ("POST", f"projects/{WEB}/placements"): (200, {"fits": True, "placements": []}),
    ("POST", f"clusters/{SHOP}/kubeconfig"): (
        200,
        {
            "kubeconfig": "apiVersion: v1\nkind: Config\n", "context": "shop", "server": "https://127.20.0.10:6443",
            "certificate_authority_data": "Q0E=", "client_certificate_data": "Q0VSVA==", "client_key_data": "S0VZ",
            "expires_at": STAMP,
        },
    ),
}  # fmt: skip


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            address = urlsplit(self.path)
            path = address.path.removeprefix("/api/v1/")
            body = json.loads(sent) if sent else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, path, dict(parse_qsl(address.query)), body, headers)
            status, answer = server.answer(request)
            if status == 0:  # hang up without a word
                self.close_connection = True
                return
            raw = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler
