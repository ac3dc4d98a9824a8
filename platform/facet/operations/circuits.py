"""A site that does not answer is left alone for a while, so that its work waits and others' goes on.

While the circuit is open no pass of the site is taken; then one at a time, until one of them has acted at the site.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection

LONGEST_S = 60

_TRIP = """
insert into operations_circuit (site_id, failures, open_until, last_error)
values (%(site)s, 1, now() + interval '1 second', %(error)s)
on conflict (site_id) do update set
    failures = operations_circuit.failures + 1, last_error = %(error)s,
    open_until = now() + make_interval(secs => least(%(longest)s, 2.0 ^ least(operations_circuit.failures, 10)))
where operations_circuit.open_until <= now()
"""


def trip(site_id: UUID, error: str) -> None:
    """Open the circuit for 1, 2, 4 ... at most 60 seconds. Passes that fail together open it once."""
    with connection.cursor() as cursor:
        cursor.execute(_TRIP, {"site": site_id, "error": error[:500], "longest": LONGEST_S})


def close(site_id: UUID) -> None:
    """The site answered, or is to be tried at once."""
    with connection.cursor() as cursor:
        cursor.execute("delete from operations_circuit where site_id = %s", [site_id])
