"""`manage.py worker`."""

from facet.serving import Becoming


class Command(Becoming):
    program = "worker"
    help = "Carry out what is asked for: passes over sites, zones, pools and clusters."
