"""Which program serves what, and where it may listen. `facet-manage web|events|worker|beat` become these programs."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


def check_bind() -> None:
    """Raises CommandError for a bind that would carry passwords and tokens in clear text beyond this machine."""
    if bool(settings.FACET_TLS_CERT) != bool(settings.FACET_TLS_KEY):
        raise CommandError("FACET_TLS_CERT and FACET_TLS_KEY go together: one of them is not set.")
    if loopback(settings.FACET_BIND) or settings.FACET_TLS_CERT or settings.FACET_TRUSTED_PROXIES:
        return
    raise CommandError(
        f"FACET_BIND={settings.FACET_BIND} would serve passwords and tokens without TLS beyond this machine. Set "
        "FACET_TLS_CERT and FACET_TLS_KEY; or, behind a proxy that ends TLS, name it: FACET_TRUSTED_PROXIES=10.0.0.7."
    )


def loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def web() -> list[str]:
    """WSGI, few lasting threads: each keeps its database connection."""
    check_bind()
    place = ["--host", settings.FACET_BIND, "--port", str(settings.FACET_PORT)]
    size = ["--workers", str(settings.FACET_WEB_WORKERS), "--blocking-threads", str(settings.FACET_WEB_THREADS)]
    tls = ["--ssl-certificate", settings.FACET_TLS_CERT, "--ssl-keyfile", settings.FACET_TLS_KEY]
    respawn = ["--respawn-failed-workers"]
    return _python("granian", "--interface", "wsgi", *place, *size, *_tls(tls), *respawn, "facet.wsgi:application")


def events() -> list[str]:
    """The small ASGI application of the streams; it reads the same settings."""
    check_bind()
    return _python("facet.events_asgi")


def worker() -> list[str]:
    """Celery's threads take passes; the slots are theirs."""
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    return _python("celery", "-A", "facet.celery", "worker", "-P", "threads", "-c", _slots(), *quiet)


def beat() -> list[str]:
    """One of these: it rings the sweep."""
    return _python("celery", "-A", "facet.celery", "beat", "--pidfile=")


def _slots() -> str:
    return str(settings.FACET_WORKER_SLOTS)


def _tls(options: list[str]) -> list[str]:
    return options if settings.FACET_TLS_CERT else []


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


PROGRAMS: Mapping[str, Callable[[], list[str]]] = {"web": web, "events": events, "worker": worker, "beat": beat}


def become(name: str) -> NoReturn:
    """Go on as this program: same process, same signals. Raises CommandError where it may not listen."""
    argv = PROGRAMS[name]()
    sys.stdout.flush()
    os.execv(argv[0], argv)  # noqa: S606  a list of arguments, no shell


class Becoming(BaseCommand):
    """A management command that becomes its program."""

    program = ""
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> NoReturn:
        become(self.program)
