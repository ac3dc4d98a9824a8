"""`manage.py events`."""

from facet.serving import Becoming


class Command(Becoming):
    program = "events"
    help = "Serve the event streams (FACET_BIND, FACET_EVENTS_PORT, FACET_TLS_CERT, FACET_TLS_KEY)."
