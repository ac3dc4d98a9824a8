"""Reviews: questions put to the API about who one is and what one may do. Nothing of them is stored."""

from __future__ import annotations

from infra.simulator.guests.api import authn, rbac
from infra.simulator.guests.api.authn import Identity
from infra.simulator.guests.api.message import Host, Request
from infra.simulator.guests.api.rbac import Attributes
from infra.simulator.guests.api.resources import Obj, Resource
from infra.simulator.guests.api.store import Store

SA_PUBLIC = "/etc/kubernetes/pki/sa.pub"


def review(store: Store, host: Host, resource: Resource, request: Request, who: Identity) -> Obj:
    obj = request.object()
    spec = obj.get("spec") or {}
    if resource.kind == "SelfSubjectReview":
        status: Obj = {"userInfo": _user(who)}
    elif resource.kind == "TokenReview":
        found = authn.of_token(store, str(spec.get("token", "")), host.read(SA_PUBLIC))
        status = {"authenticated": found is not None, **({"user": _user(found)} if found else {})}
    elif resource.kind == "SelfSubjectRulesReview":
        status = _rules(store, who, spec.get("namespace", "default"))
    else:
        subject = who
        if "Self" not in resource.kind:
            subject = Identity(spec.get("user", ""), frozenset(spec.get("groups") or ()))
        status = {"allowed": rbac.allowed(store, subject, _attributes(spec))}
    return {**obj, "apiVersion": resource.api_version, "kind": resource.kind, "status": status}


def _user(who: Identity) -> Obj:
    return {"username": who.name, "groups": sorted(who.groups)}


def _attributes(spec: Obj) -> Attributes:
    path = spec.get("nonResourceAttributes")
    if path:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    what = spec.get("resourceAttributes") or {}
    resource = "/".join(filter(None, (what.get("resource", ""), what.get("subresource", ""))))
    names = (what.get(key, "") for key in ("namespace", "name"))
    return Attributes(what.get("verb", ""), what.get("group", ""), resource, *names)


def _rules(store: Store, who: Identity, namespace: str) -> Obj:
    rules = list(rbac.rules_of(store, who, namespace))
    if rbac.MASTERS in who.groups:
        rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
    return {
        "resourceRules": [rule for rule in rules if rule.get("resources")],
        "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
        "incomplete": False,
    }
