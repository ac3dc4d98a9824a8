"""One request in, one answer out: who asks, may they, and what the path names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infra.simulator.guests.api import authn, discovery, rbac, reading, reviews, subresources, verbs
from infra.simulator.guests.api.authn import Identity
from infra.simulator.guests.api.errors import ApiError, not_simulated
from infra.simulator.guests.api.message import Host, Request, Response, answer, text
from infra.simulator.guests.api.rbac import Attributes
from infra.simulator.guests.api.resources import BY_PATH, REVIEW_KINDS, Obj, Resource
from infra.simulator.guests.api.store import Store
from infra.simulator.guests.api.verbs import Target
from infra.simulator.guests.disk import Disk

SA_PUBLIC = "/etc/kubernetes/pki/sa.pub"
HEALTH = ("/healthz", "/livez", "/readyz")
WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch"}


class ApiServer:
    """The API of one cluster, whichever of its control planes is asked."""

    def __init__(
        self,
        store: Store,
        disk: Disk,
        *,
        serving: Callable[[], bool],
        settle: Callable[[Host], None],
        present: Callable[[str, Obj], Obj],
    ) -> None:
        self.store = store
        self._disk = disk
        self._serving = serving  # has etcd its majority?
        self._settle = settle  # let the controllers do what a write asks for
        self._present = present

    def answer(self, host: Host, request: Request, peer: Mapping[str, Any] | None) -> Response:
        """The answer to a request that came over TLS with `peer`'s certificate, or without one."""
        try:
            with self._disk.transaction():
                if not self._serving():
                    return self._without_etcd(request)
                who = authn.identify(self.store, peer, request.headers.get("authorization", ""), host.read(SA_PUBLIC))
                return self._route(host, request, who)
        except ApiError as error:
            return answer(error.status(), error.code)

    def _without_etcd(self, request: Request) -> Response:
        if request.path == "/livez":
            return text("ok")
        if request.path in HEALTH:
            return text(f"[+]ping ok\n[-]etcd failed: reason withheld\n{request.path[1:]} check failed\n", 500)
        raise ApiError(500, "etcdserver: request timed out")

    def _route(self, host: Host, request: Request, who: Identity) -> Response:
        words = request.path.strip("/").split("/")
        if (words[0] == "api" and len(words) > 2) or (words[0] == "apis" and len(words) > 3):
            return self._resource(host, request, who, words)
        self._authorize(who, Attributes(request.method.lower(), path=request.path))
        if request.method not in ("GET", "HEAD"):
            raise ApiError(405, f"{request.method} is not supported on {request.path}")
        return self._not_resource(host, request, words)

    def _not_resource(self, host: Host, request: Request, words: list[str]) -> Response:
        every = discovery.served(self.store)
        if words[0] in ("healthz", "livez", "readyz"):
            verbose = f"[+]ping ok\n[+]etcd ok\n{words[0]} check passed\n"
            return text(verbose if "verbose" in request.query else "ok")
        if request.path in ("/version", "/version/"):
            return answer(discovery.version(host.api_version))
        if words[:2] == ["openapi", "v3"]:
            return answer(
                discovery.openapi(every, "/".join(words[2:])) if words[2:] else discovery.openapi_index(every)
            )
        if words[0] == "api":
            found = discovery.resource_list(every, "", words[1]) if words[1:] else discovery.core(host.address)
            return answer(found)
        if words[0] == "apis":
            if len(words) == 1:
                return answer(discovery.groups(every))
            return answer(
                discovery.resource_list(every, words[1], words[2]) if words[2:] else discovery.group(every, words[1])
            )
        raise not_simulated(request.path)

    def _authorize(self, who: Identity, what: Attributes) -> None:
        if rbac.allowed(self.store, who, what):
            return
        if what.path:
            raise ApiError(403, f'forbidden: User "{who.name}" cannot {what.verb} path "{what.path}"')
        where = f'in the namespace "{what.namespace}"' if what.namespace else "at the cluster scope"
        plural = f"{what.resource}.{what.group}" if what.group else what.resource
        about = f'{plural} "{what.name}"' if what.name else plural
        words = f'User "{who.name}" cannot {what.verb} resource "{what.resource}" in API group "{what.group}" {where}'
        details = {"name": what.name, "group": what.group, "kind": what.resource}
        raise ApiError(403, f"{about} is forbidden: {words}", details=details)

    def _target(self, words: list[str]) -> Target:
        group, version, rest = ("", words[1], words[2:]) if words[0] == "api" else (words[1], words[2], words[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        resource = BY_PATH.get((group, version, rest[0])) or self._custom(group, version, rest[0])
        name, subresource = (*rest[1:3], "", "")[:2]
        if subresource and subresource not in resource.subresources:
            raise not_simulated(f"{resource.plural}/{subresource}")
        if (namespace and not resource.namespaced) or (name and resource.namespaced and not namespace):
            raise ApiError(404, "the server could not find the requested resource")
        return Target(resource, namespace, name, "/".join(rest[2:]) and subresource)

    def _custom(self, group: str, version: str, plural: str) -> Resource:
        for resource in discovery.served(self.store):
            if (resource.group, resource.version, resource.plural) == (group, version, plural):
                return resource
        words = "the server could not find the requested resource (a simulated cluster serves a part of Kubernetes)"
        raise ApiError(404, words)

    def _resource(self, host: Host, request: Request, who: Identity, words: list[str]) -> Response:
        target = self._target(words)
        resource = target.resource
        verb = self._verb(request, target)
        path = f"{resource.plural}/{target.subresource}" if target.subresource else resource.plural
        review = resource.kind in REVIEW_KINDS
        if not (review and "Self" in resource.kind):
            self._authorize(who, Attributes(verb, resource.group, path, target.namespace, target.name))
        if review:
            return answer(reviews.review(self.store, host, resource, request, who), 201)
        if target.subresource:
            return self._done(host, subresources.handle(self.store, host, target, request, self._present))
        if verb == "watch":
            return reading.watch(self.store, target, request, self._present)
        if verb == "list":
            return reading.list_objects(self.store, target, request, self._present)
        if verb == "get":
            return reading.get(self.store, target, request, self._present)
        return self._write(host, request, target, verb, who)

    def _verb(self, request: Request, target: Target) -> str:
        if request.method in ("GET", "HEAD"):
            if request.flag("watch"):
                return "watch"
            return "get" if target.name else "list"
        if request.method == "DELETE":
            return "delete" if target.name else "deletecollection"
        verb = WRITES.get(request.method, "")
        if (
            not verb
            or (verb == "create" and target.name and not target.subresource)
            or (verb != "create" and not target.name)
        ):
            raise ApiError(405, "the server does not allow this method on the requested resource")
        return verb

    def _write(self, host: Host, request: Request, target: Target, verb: str, who: Identity) -> Response:
        status = 200
        if verb == "create":
            obj = request.object()
            if target.resource.kind == "CertificateSigningRequest":
                spec = {**obj.get("spec", {}), "username": who.name, "groups": sorted(who.groups)}
                obj = {**obj, "spec": spec}
            stored, status = verbs.create_object(self.store, target, obj, dry=request.dry), 201
        elif verb == "update":
            stored = verbs.replace(self.store, target, request)
        elif verb == "patch":
            stored, created = verbs.patched(self.store, target, request)
            status = 201 if created else 200
        else:
            return self._delete(host, request, target, verb)
        self._settle(host)
        now = self.store.get(target.resource.key, target.namespace, stored["metadata"]["name"])
        shown = self._present(target.resource.key, stored if request.dry else now or stored)
        return answer(reading.shaped(self.store, target.resource, request, shown), status)

    def _delete(self, host: Host, request: Request, target: Target, verb: str) -> Response:
        options = request.object() if request.body else {}
        options = {**options, **{k: v for k, v in request.query.items() if k == "propagationPolicy"}}
        if verb == "deletecollection":
            chosen = reading.chosen(self.store, target, request, self._present)
            for obj in chosen:
                metadata = obj["metadata"]
                one = Target(target.resource, metadata.get("namespace", ""), metadata["name"])
                verbs.delete(self.store, one, options, dry=request.dry)
            self._settle(host)
            return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        gone = verbs.delete(self.store, target, options, dry=request.dry)
        self._settle(host)
        left = self.store.get(target.resource.key, target.namespace, target.name)
        if left is not None and target.resource.kind not in ("Pod", "Namespace"):
            return answer(self._present(target.resource.key, left))
        details = {"name": target.name, "group": target.resource.group, "kind": target.resource.plural}
        details["uid"] = gone["metadata"]["uid"]
        if target.resource.kind in ("Pod", "Namespace"):
            return answer(gone)
        return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def _done(self, host: Host, response: Response) -> Response:
        self._settle(host)
        return response
