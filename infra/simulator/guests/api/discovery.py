"""What a client reads first: versions, groups, resources, and just enough OpenAPI for `kubectl apply` to trust us."""

from __future__ import annotations

from collections.abc import Iterable

from infra.simulator.guests.api.errors import not_simulated
from infra.simulator.guests.api.resources import BUILT_IN, Obj, Resource, custom
from infra.simulator.guests.api.store import Store

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
SUB_KINDS = {
    "eviction": ("policy", "v1", "Eviction"), "scale": ("autoscaling", "v1", "Scale"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"), "binding": ("", "v1", "Binding"),
    "log": ("", "v1", "Pod"), "exec": ("", "v1", "PodExecOptions"), "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}  # fmt: skip
SUB_VERBS = {"status": ["get", "patch", "update"], "scale": ["get", "patch", "update"], "log": ["get"]}


def served(store: Store) -> list[Resource]:
    """Everything served now: the table, and what custom resource definitions add."""
    return [*BUILT_IN, *(one for definition in store.list(DEFINITIONS) for one in custom(definition))]


def version(of: str) -> Obj:
    """`of`: v1.34.2."""
    major, minor = of.removeprefix("v").split(".")[:2]
    return {
        "major": major, "minor": minor, "gitVersion": f"{of}+simulated", "gitCommit": "simulated",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none",
        "platform": "simulated/simulated",
    }  # fmt: skip


def core(address: str) -> Obj:
    servers = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": servers}


def groups(every: Iterable[Resource]) -> Obj:
    found: dict[str, list[str]] = {}
    for resource in every:
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    listed = [_group(name, versions) for name, versions in found.items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def _group(name: str, versions: list[str]) -> Obj:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group(every: Iterable[Resource], name: str) -> Obj:
    versions = list(dict.fromkeys(resource.version for resource in every if resource.group == name))
    if not versions:
        raise not_simulated(f"the group {name}")
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resource_list(every: Iterable[Resource], group: str, version: str) -> Obj:
    listed = []
    for resource in every:
        if (resource.group, resource.version) == (group, version):
            listed.append(_described(resource))
            listed.extend(_subresource(resource, name) for name in resource.subresources)
    if not listed:
        raise not_simulated(f"{group}/{version}")
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _described(resource: Resource) -> Obj:
    described = {
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": list(resource.verbs),
    }  # fmt: skip
    if resource.short:
        described["shortNames"] = list(resource.short)
    if resource.key in (
        "pods",
        "services",
        "deployments.apps",
        "replicasets.apps",
        "daemonsets.apps",
        "statefulsets.apps",
        "jobs.batch",
    ):
        described["categories"] = ["all"]
    return described


def _subresource(resource: Resource, name: str) -> Obj:
    described = {
        "name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": SUB_VERBS.get(name, ["create"]),
    }  # fmt: skip
    if name in SUB_KINDS:
        group, version, kind = SUB_KINDS[name]
        described.update({"group": group, "version": version, "kind": kind})
    return described


def openapi_index(every: Iterable[Resource]) -> Obj:
    names = {("apis/" if resource.group else "api/") + resource.api_version for resource in every}
    return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash=simulated"} for name in sorted(names)}}


def openapi(every: Iterable[Resource], name: str) -> Obj:
    """One group's document (`apis/apps/v1`): PATCH takes fieldValidation, so that kubectl leaves checking to us."""
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths: Obj = {}
    for resource in every:
        if ("apis/" if resource.group else "api/") + resource.api_version == name:
            space = "/namespaces/{namespace}" if resource.namespaced else ""
            kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
            operation = {
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": kind,
                "parameters": [parameter],
                "responses": {"200": {"description": "OK"}},
            }
            paths[f"/{name}{space}/{resource.plural}/{{name}}"] = {"patch": operation}
    return {"openapi": "3.0.0", "info": {"title": "simulated", "version": "v1"}, "paths": paths}
