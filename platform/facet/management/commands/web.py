"""`manage.py web`."""

from facet.serving import Becoming


class Command(Becoming):
    program = "web"
    help = "Serve the REST API and the console (FACET_BIND, FACET_PORT, FACET_TLS_CERT, FACET_TLS_KEY)."
