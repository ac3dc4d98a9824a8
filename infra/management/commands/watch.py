"""`manage.py watch`: hear what moves at every site, and ask after what is in flight."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand

from infra.watch import Watch


class Command(BaseCommand):
    help = "Watch all sites. Several of these share the sites; one takes over where another was killed."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        watch = Watch()
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, lambda *_: watch.stopping.set())
        watch.run()
        sys.stdout.flush()
        os._exit(0)  # a thread may still wait for a site that does not answer
