"""schemathesis over the whole schema, as three kinds of people: no server error, and no answer that is not declared.

Requests are made of the schema: its edges one by one, then good and bad ones at random, always the same. Most have ids
of real objects in their path and a body that is good but for one field, so that what lies behind a 404 or a 422 is
tried too. Nothing reaches the outside: in these tests no name has an address.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from facet.clusters.models import Cluster, ClusterPhase
from facet.rest import problems
from facet.workloads.models import VM, VM_KIND, ObjectPhase, Snapshot, VmPhase, Volume
from facet.wsgi import application
from tests.api import bodies, described, world
from tests.api.described import Call
from tests.factories import as_system

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
EDGES = {"admin": 40, "tenant-admin": 20, "viewer": 10}  # of each operation, at most
RANDOM = {"admin": 4, "tenant-admin": 2, "viewer": 1}  # of each operation, good ones and as many bad ones
ORDER = ("GET", "POST", "PUT", "PATCH", "DELETE")
LAST = ("/cancel", "/drain")  # after which less is possible
DRIFT = [{"field": "vcpu", "wanted": 1, "seen": 2, "since": "2026-01-01T00:00:00Z"}]
NEVER = {  # as IT, in this world
    "POST clusters/{parent_pk}/kubeconfig": "nothing answers at the cluster's address",
    "DELETE images/{id}": "a cluster is made of it",
    "DELETE pools/{id}": "a cluster has claims on it",
    "DELETE projects/{id}": "it has a cluster",
    "DELETE sites/{id}": "it has a zone",
    "DELETE tenants/{id}": "it has a project",
    "DELETE zones/{id}": "it has a pool",
    "GET vms/{id}/console": "its site does not answer",
    "POST images/{parent_pk}/replicas": "the hosts of every zone reach its template",
    "POST vms/{id}/release": "no VM is adopted",
    "POST zones/{id}/adopt": "nobody else has a VM there",
    "POST pools/{id}/take-spare": "no pool keeps spare room",
    "POST pools/{id}/transfer": "no other pool of the zone is there to give to",
}


@pytest.mark.parametrize("role", EDGES)
def test_no_server_error_and_every_error_is_declared(role, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    it, platform = world.platform()
    mine = world.belongings(it, "acme")
    with as_system():
        Cluster.objects.update(phase=ClusterPhase.READY, initialized_at=timezone.now())
    client = it if role == "admin" else world.client(mine.people[role.removeprefix("tenant-")])
    ids = all_of(platform, mine.ids, mine.whole)
    ids |= {"users": [mine.people["editor"].id], "members": mine.ids["members"]}  # the caller stays what it is
    faults, reached, number = [], set(), 0
    for call, operation in operations():
        at_rest()
        for case in chain(islice(edges(operation), EDGES[role]), at_random(operation, RANDOM[role])):
            number += 1
            prepare(case, call, ids.get(call.kind or "", []), number)
            ends_its_token = call.path == "logout"
            response = case.call(headers=(world.client(mine.people["ci"]) if ends_its_token else client).headers)
            reached |= {str(call)} if response.status_code < 300 else set()
            if response.status_code == 202 and "cluster" in response.json():  # one that can still be cancelled
                ids["operations"].append(response.json()["operation"]["id"])
            faults += [f"{call}: {fault}\n{case.as_curl_command()}" for fault in faults_of(case, response)]
    assert not faults, f"{len(faults)} of {number}\n" + "\n\n".join(faults[:20])
    assert client.get("me").status == 200, "the caller was locked out on the way: the rest tried nothing"
    if role == "admin":
        missed = {str(call) for call in described.calls()} - reached - NEVER.keys()
        assert not missed, f"never said well, so that nothing behind the first refusal was tried: {missed}"


def at_rest() -> None:
    """What calls before have asked of VMs and volumes is done; a VM differs from what was asked for."""
    with as_system():
        VM.objects.filter(owner_kind=VM_KIND, deleted_at=None).update(
            phase=VmPhase.RUNNING, power="on", booted_at=timezone.now(), drift=DRIFT, resizing=None,
            delete_asked_at=None,
        )  # fmt: skip
        Snapshot.objects.update(revert_asked_at=None)
        Volume.objects.filter(deleted_at=None).update(phase=ObjectPhase.READY, wanted_by=None, attached_to=None)


def all_of(*places: world.Ids) -> world.Ids:
    """The ids of all places, by kind."""
    kinds = {kind for place in places for kind in place}
    return {kind: [id for place in places for id in place.get(kind, ())] for kind in kinds}


def operations() -> Iterator[tuple[Call, Any]]:
    """Every method of every path, as our tests and as schemathesis know it: what ends something last, parts first."""
    schema = schemathesis.openapi.from_dict(described.document())
    schema.app = application
    calls = sorted(described.calls(), key=lambda call: call.path, reverse=True)
    for call in sorted(
        calls, key=lambda call: (call.method == "DELETE", call.path.endswith(LAST), ORDER.index(call.method))
    ):
        yield call, schema[described.BASE + call.path][call.method]


def edges(operation: Any) -> Iterator[Any]:
    """What schemathesis finds at the edges of the operation's schema, on both sides of them."""
    config = operation.schema.config.generation
    cases: Iterator[Any] = operation.schema.iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=config
    )
    return cases


def at_random(operation: Any, most: int) -> list[Any]:
    """So many good cases and so many bad ones, the same in every run."""
    found: list[Any] = []
    for mode in GenerationMode:

        @seed(1)
        @examples(
            max_examples=most,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def collect(case: Any) -> None:
            found.append(case)

        collect()
    return found


def prepare(case: Any, call: Call, ids: list[UUID], number: int) -> None:
    """Most cases get a real id and a good body that keeps one field of its own; some lose what would end them early."""
    for name in case.path_parameters or {}:
        if ids and number % 4:
            case.path_parameters[name] = str(ids[number % len(ids)])
    if number % 5 < 3:
        for container, name in ((case.headers, "If-Match"), (case.headers, "Idempotency-Key"), (case.query, "cursor")):
            if container and name in container:
                del container[name]
    if number % 3 and call.body is not None and isinstance(case.body, dict):
        kept = sorted(case.body)[number // 3 % (len(case.body) + 1) :][:1]  # none at the end of each round
        good = bodies.valid(call)
        case.body = good | ({"name": f"x{number}"} if "name" in good else {}) | {one: case.body[one] for one in kept}


def faults_of(case: Any, response: Any) -> list[str]:
    """What is wrong with the answer."""
    found = []
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as group:
        found = [f"{response.status_code} {type(one).__name__} {one}" for one in group.exceptions]
    if response.status_code >= 400:
        kind, body = response.headers["content-type"], response.json()
        if kind != [problems.CONTENT_TYPE] or body["status"] != response.status_code or not body["code"]:
            found.append(f"{response.status_code} is no problem document: {kind} {body}")
    return found


def no_address(host: Any, *rest: Any, **options: Any) -> None:
    """In place of the resolver: refuses every name, and as the real one does those that cannot be one."""
    if isinstance(host, str):
        host.encode("idna")
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
