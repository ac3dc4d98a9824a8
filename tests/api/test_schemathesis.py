"""schemathesis over the whole schema, as three kinds of people: no server error, and no answer that is not declared.

Requests are made of the schema, good ones and bad ones, and sent to the application in this process. Ids in paths are
of real objects most of the time, so that what lies behind a 404 is tried too. Nothing answers at a site's address: the
calls that reach out are bounded by a short timeout.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from facet.wsgi import application
from tests.api import described, world

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = {"admin": 8, "tenant-admin": 4, "viewer": 3}
OWN = {"/api/v1/logout"}  # it would end the caller's token: sent with one of its own


@pytest.mark.parametrize("role", EXAMPLES)
def test_no_server_error_and_every_error_is_declared(role, settings):
    settings.FACET_CALL_TIMEOUT_S = 0.2
    it, platform = world.platform()
    mine = world.belongings(it, "acme")
    places = (platform, mine.ids, mine.whole)
    ids = {kind: [id for place in places for id in place.get(kind, ())] for place in places for kind in place}
    client = it if role == "admin" else world.client(mine.people[role.removeprefix("tenant-")])
    schema = schemathesis.openapi.from_dict(described._document())
    schema.app = application
    faults = []
    for found in schema.get_all_operations():
        operation = found.ok()
        own = operation.path in OWN
        headers = world.client(mine.people["viewer"]).headers if own else client.headers
        for mode in GenerationMode:
            fault = _tried(operation, headers, ids, EXAMPLES[role], mode)
            if fault:
                faults.append(f"{operation.method.upper()} {operation.path} ({mode.value}): {fault}")
    assert not faults, "\n\n".join(faults)


def _tried(operation: Any, headers: dict[str, str], ids: world.Ids, most: int, mode: GenerationMode) -> str:
    """What the first bad answer was; "" where there was none."""
    kind = operation.path.rpartition("/{")[0].rpartition("/")[2]
    turn = iter(range(10**6))

    @seed(1)
    @examples(
        max_examples=most,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def probe(case: Any) -> None:
        real = ids.get(kind, [])
        for name in case.path_parameters or {}:
            number = next(turn)
            if real and number % 4:
                case.path_parameters[name] = str(real[number % len(real)])
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)

    try:
        probe()
    except FailureGroup as found:  # what the checks found; all of it is told at the end
        return f"{found.exceptions} {found}"[:1500]
    return ""
