"""Who may do what: evaluated from the Roles and Bindings that are stored, as the RBAC authorizer does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.simulator.guests.api import selectors
from infra.simulator.guests.api.authn import Identity
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store

GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"


@dataclass(frozen=True)
class Attributes:
    """One attempt. For a path that is no resource: `path` and the verb alone."""

    verb: str
    group: str = ""
    resource: str = ""  # with its subresource: pods/eviction
    namespace: str = ""
    name: str = ""
    path: str = ""


def allowed(store: Store, who: Identity, what: Attributes) -> bool:
    if MASTERS in who.groups:
        return True
    return any(_rule_allows(rule, what) for rule in rules_of(store, who, what.namespace))


def rules_of(store: Store, who: Identity, namespace: str) -> Iterator[Obj]:
    """The rules that bind `who`: cluster-wide, then those of `namespace`."""
    for binding in store.list(f"clusterrolebindings.{GROUP}"):
        if _binds(binding, who, ""):
            yield from _role_rules(store, binding, "")
    if namespace:
        for binding in store.list(f"rolebindings.{GROUP}", namespace):
            if _binds(binding, who, namespace):
                yield from _role_rules(store, binding, namespace)


def _binds(binding: Obj, who: Identity, namespace: str) -> bool:
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "User" and name in (who.name, "*"):
            return True
        if kind == "Group" and name in who.groups:
            return True
        account = f"system:serviceaccount:{subject.get('namespace', namespace)}:{name}"
        if kind == "ServiceAccount" and account == who.name:
            return True
    return False


def _role_rules(store: Store, binding: Obj, namespace: str) -> list[Obj]:
    ref = binding["roleRef"]
    if ref["kind"] == "Role":
        role = store.get(f"roles.{GROUP}", namespace, ref["name"])
    else:
        role = store.get(f"clusterroles.{GROUP}", "", ref["name"])
    if role is None:
        return []
    rules: list[Obj] = list(role.get("rules") or ())
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        for other in store.list(f"clusterroles.{GROUP}"):
            if selectors.matches(selector, other["metadata"].get("labels")):
                rules.extend(other.get("rules") or ())
    return rules


def _rule_allows(rule: Obj, what: Attributes) -> bool:
    if not _has(rule.get("verbs"), what.verb):
        return False
    if what.path:
        return any(
            path == what.path or (path.endswith("*") and what.path.startswith(path[:-1]))
            for path in rule.get("nonResourceURLs") or ()
        )
    subresource = what.resource.partition("/")[2]
    names = rule.get("resources") or ()
    return (
        _has(rule.get("apiGroups"), what.group)
        and (what.resource in names or "*" in names or bool(subresource and f"*/{subresource}" in names))
        and (not rule.get("resourceNames") or what.name in rule["resourceNames"])
    )


def _has(words: list[str] | None, word: str) -> bool:
    return bool(words) and (word in words or "*" in words)
