"""A small client of a cluster's own API: what Facet asks of it, and nothing else.

Trusts the cluster's authority alone. What may pass (no connection, 429, 5xx) is NotAnswering; what will not pass is
ClusterRefused. One client may be used by many threads.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from facet.clusters.frameworks.base import ClusterRefused, NotAnswering
from facet.clusters.frameworks.kubernetes import kubeadm

TIMEOUT = httpx.Timeout(10.0, connect=5.0)  # seconds
FIELD_MANAGER = "facet"
PAGE = 500  # objects in one answer of a list
MOST_OBJECTS = 50_000  # of one list: a cluster's owner may fill it, and must not fill our memory with it
Object = Mapping[str, Any]


def open_http(base_url: str, context: ssl.SSLContext) -> httpx.Client:
    """No proxy and no .netrc of the environment: a cluster is reached directly or not at all."""
    return httpx.Client(base_url=base_url, verify=context, timeout=TIMEOUT, trust_env=False)


def ask(http: httpx.Client, method: str, path: str, **sent: Any) -> httpx.Response:
    """The answer, whatever its status below 500 but 429. Raises NotAnswering."""
    try:
        answer = http.request(method, path, **sent)
    except httpx.TimeoutException:
        raise NotAnswering("timeout", f"{http.base_url} did not answer in time.") from None
    except httpx.TransportError as error:
        raise _unreached(http, error) from None
    if answer.status_code == 429 or answer.status_code >= 500:
        raise NotAnswering("unavailable", f"{http.base_url} answered {answer.status_code}: {said(answer)}")
    return answer


def _unreached(http: httpx.Client, error: httpx.TransportError) -> NotAnswering:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return NotAnswering("foreign_certificate", f"{http.base_url} shows a certificate that is not this cluster's.")
    return NotAnswering("unreachable", f"{http.base_url} is not reached: {str(error) or type(error).__name__}")


def said(answer: httpx.Response) -> str:
    """The words of a Kubernetes Status, else the body's beginning."""
    try:
        message = answer.json().get("message")
    except (ValueError, AttributeError):
        message = None
    return str(message or answer.text or answer.reason_phrase)[:400]


class Client:
    """Calls return plain objects as the API gives them; what is gone is None where that is an answer."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def close(self) -> None:
        self._http.close()

    # health

    def ready(self) -> bool:
        """/readyz says ok. Raises NotAnswering (a server that is up and not ready answers 500)."""
        return ask(self._http, "GET", "/readyz").status_code == 200

    def version(self) -> str:
        """gitVersion, such as v1.34.2 or v1.34.2+simulated."""
        return str(self.get("/version").get("gitVersion", ""))

    def nodes(self) -> list[Object]:
        return self.items("/api/v1/nodes")

    # nodes

    def node(self, name: str) -> Object | None:
        return self.find(_node(name))

    def cordon(self, name: str) -> bool:
        """False where there is no such node."""
        return self._patch(_node(name), {"spec": {"unschedulable": True}})

    def pods_on(self, node: str) -> list[Object]:
        return self.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")

    def evict(self, namespace: str, name: str, uid: str = "") -> str:
        """ "" when the pod is going or gone; else why it may not go now: a budget forbids it, or the API is busy.

        uid: of the very pod that was looked at, so that a new one of the same name is left alone.
        """
        eviction: dict[str, Any] = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        if uid:
            eviction["deleteOptions"] = {"preconditions": {"uid": uid}}
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}/eviction"
        try:
            answer = ask(self._http, "POST", path, json=eviction)
        except NotAnswering as busy:
            if busy.code != "unavailable":
                raise
            return busy.sentence
        if answer.status_code not in (404, 409):  # gone, or another pod by now
            _fine(answer)
        return ""

    def delete_node(self, name: str) -> None:
        """Absent afterwards, whether it was there or not."""
        self.delete(_node(name))

    # bootstrap tokens

    def allow_joins(self, token: str, until: datetime) -> None:
        """The bootstrap token's Secret is there and expires at `until` (aware)."""
        token_id, secret = kubeadm.split_token(token)
        data = {
            "token-id": token_id,
            "token-secret": secret,
            "expiration": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": kubeadm.TOKEN_GROUP,
        }
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
        self.apply_at(f"/api/v1/namespaces/kube-system/secrets/bootstrap-token-{token_id}", body)

    # manifests

    def apply(self, manifests: Iterable[Object]) -> int:
        """Server-side apply of each, in order; how many. What a manifest needs is found by discovery."""
        found: dict[str, dict[str, Object]] = {}
        count = 0
        for manifest in manifests:
            self.apply_at(self._path(manifest, found), manifest)
            count += 1
        return count

    def apply_at(self, path: str, body: Object) -> Object:
        answer = ask(
            self._http,
            "PATCH",
            path,
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(body),  # JSON is YAML
        )
        return _object(answer)

    def _path(self, manifest: Object, found: dict[str, dict[str, Object]]) -> str:
        version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in found:
            offered = self.find(prefix) or {}
            found[version] = {item["kind"]: item for item in offered.get("resources", ()) if "/" not in item["name"]}
        resource = found[version].get(kind)
        if resource is None:  # a definition applied just before may not be served yet
            raise NotAnswering("unknown_kind", f"The cluster does not know {kind} of {version} (yet).")
        metadata = manifest["metadata"]
        if resource["namespaced"]:
            prefix += f"/namespaces/{quote(metadata.get('namespace') or 'default')}"
        return f"{prefix}/{resource['name']}/{quote(metadata['name'], safe=':')}"

    # plumbing

    def get(self, path: str, **params: str) -> Object:
        return _object(ask(self._http, "GET", path, params=params))

    def find(self, path: str) -> Object | None:
        answer = ask(self._http, "GET", path)
        return None if answer.status_code == 404 else _object(answer)

    def items(self, path: str, **params: str) -> list[Object]:
        """All items, whatever pages the server makes of them."""
        found: list[Object] = []
        token = ""
        while True:
            more = {"continue": token} if token else {}
            page = self.get(path, limit=str(PAGE), **params, **more)
            found += page.get("items") or ()
            if len(found) > MOST_OBJECTS:
                raise NotAnswering("too_large", f"{path} has more than {MOST_OBJECTS} objects.")
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return found

    def delete(self, path: str) -> None:
        answer = ask(self._http, "DELETE", path)
        if answer.status_code != 404:
            _fine(answer)

    def _patch(self, path: str, body: Object) -> bool:
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = ask(self._http, "PATCH", path, headers=headers, content=json.dumps(body))
        if answer.status_code == 404:
            return False
        _fine(answer)
        return True


def _node(name: str) -> str:
    return f"/api/v1/nodes/{quote(name)}"


def _fine(answer: httpx.Response) -> None:
    if not answer.is_success:
        raise ClusterRefused(answer.status_code, said(answer))


def _object(answer: httpx.Response) -> Object:
    _fine(answer)
    try:
        body = answer.json()
    except ValueError:
        raise NotAnswering("nonsense", f"{answer.url} answered what is not JSON.") from None
    if not isinstance(body, dict):
        raise NotAnswering("nonsense", f"{answer.url} answered what is not an object.")
    return body
