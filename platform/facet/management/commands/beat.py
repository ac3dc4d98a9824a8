"""`manage.py beat`."""

from facet.serving import Becoming


class Command(Becoming):
    program = "beat"
    help = "Ring for what is due. Run one of these."
