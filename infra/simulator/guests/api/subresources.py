"""What hangs below an object: status, scale, eviction, binding, tokens, approval."""

from __future__ import annotations

from collections.abc import Callable

from infra.simulator.guests import pki
from infra.simulator.guests.api import authn, errors, patch, reading, selectors, verbs
from infra.simulator.guests.api.errors import ApiError, not_simulated
from infra.simulator.guests.api.message import Host, Request, Response, answer
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store, stamp
from infra.simulator.guests.api.verbs import Target
from infra.simulator.guests.controllers import budgets

SA_KEY = "/etc/kubernetes/pki/sa.key"
TOKEN_S = 3600
Present = Callable[[str, Obj], Obj]


def handle(store: Store, host: Host, target: Target, request: Request, present: Present) -> Response:
    """Answer a request for `target.subresource`. Raises ApiError 501 for what a simulated pod cannot do."""
    handler = {
        "status": _object, "approval": _object, "scale": _scale, "eviction": _evict, "binding": _bind,
        "finalize": _finalize,
    }.get(target.subresource)  # fmt: skip
    if target.subresource == "token":
        return _token(store, host, target, request)
    if handler is None:
        words = "no container runs in it" if target.resource.plural == "pods" else "nothing answers behind it"
        raise not_simulated(f"{target.resource.plural}/{target.subresource}: {words}")
    return handler(store, target, request, present)


def _object(store: Store, target: Target, request: Request, present: Present) -> Response:
    if request.method == "GET":
        return reading.get(store, target, request, present)
    if request.method == "PUT":
        return answer(verbs.replace(store, target, request))
    return answer(verbs.patched(store, target, request)[0])


def _scale(store: Store, target: Target, request: Request, present: Present) -> Response:
    obj = verbs.find(store, target)
    scale = _scale_of(obj)
    if request.method == "GET":
        return answer(scale)
    if request.method == "PUT":
        wanted = request.object()
    else:
        wanted = patch.merge(scale, request.parsed())
    version = wanted["metadata"].get("resourceVersion")
    if version and version != obj["metadata"]["resourceVersion"]:
        raise errors.conflict(target.resource, target.name, "the object has been modified")
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise errors.invalid(target.resource, target.name, "spec.replicas", "must be greater than or equal to 0")
    whole = Target(target.resource, target.namespace, target.name)
    changed = verbs.change(store, whole, obj, {**obj, "spec": {**obj["spec"], "replicas": replicas}}, dry=request.dry)
    return answer(_scale_of(changed))


def _scale_of(obj: Obj) -> Obj:
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in kept},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": selectors.text_of(obj["spec"].get("selector")),
        },
    }


def _evict(store: Store, target: Target, request: Request, present: Present) -> Response:
    pod = verbs.find(store, Target(target.resource, target.namespace, target.name))
    budgets.check(store, pod)
    options = request.object().get("deleteOptions") or {}
    verbs.delete(store, Target(target.resource, target.namespace, target.name), options, dry=request.dry)
    return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)


def _bind(store: Store, target: Target, request: Request, present: Present) -> Response:
    pod = verbs.find(store, target)
    if pod["spec"].get("nodeName"):
        raise errors.conflict(target.resource, target.name, "pod is already assigned to a node")
    name = (request.object().get("target") or {}).get("name", "")
    store.update("pods", pod, {**pod, "spec": {**pod["spec"], "nodeName": name}})
    return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)


def _finalize(store: Store, target: Target, request: Request, present: Present) -> Response:
    return answer(verbs.find(store, target))


def _token(store: Store, host: Host, target: Target, request: Request) -> Response:
    account, wanted = verbs.find(store, target), request.object()
    spec = wanted.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or TOKEN_S)
    if seconds < 600:
        raise ApiError(422, "spec.expirationSeconds: may not specify a duration less than 10 minutes")
    key = pki.load_key("sa.key", host.read(SA_KEY))
    token = authn.service_account_token(account, key, store.now(), seconds, spec.get("audiences") or [])
    status = {"token": token, "expirationTimestamp": stamp(store.now() + seconds)}
    kind = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
    return answer({**kind, "metadata": {"name": target.name}, "spec": spec, "status": status}, 201)
