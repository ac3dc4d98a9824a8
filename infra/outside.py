"""The way from a Site row to its driver, and from a driver's error to what the engine understands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings

from facet.operations.engine import ComeAgain, SiteDown
from facet.rest import secrets

from .drivers import base, factory
from .models import Installation, Site

_open: dict[UUID, tuple[int, base.Driver]] = {}  # one driver (one session pool) per site and process, by generation
_lock = threading.Lock()


def owner(site_id: UUID) -> str:
    """The name for which a site's credentials are sealed."""
    return f"site:{site_id}"


def connection_of(site: Site) -> base.Connection:
    """How to reach this site, with its password unsealed. Never log it."""
    password = secrets.unseal(site.password_sealed, owner=owner(site.id)).decode()
    return connection(
        driver=site.driver, endpoint=site.endpoint, username=site.username, password=password, ca_pem=site.ca_pem
    )


def connection(*, driver: str, endpoint: str, username: str, password: str, ca_pem: str) -> base.Connection:
    """How to reach a site that may not be registered yet."""
    return base.Connection(
        driver=driver,
        endpoint=endpoint,
        username=username,
        password=password,
        ca_pem=ca_pem,
        installation=str(Installation.objects.get().id),
        call_timeout_s=settings.FACET_CALL_TIMEOUT_S,
    )


def driver_of(site: Site) -> base.Driver:
    """This process's driver for the site; a change of the site's spec makes a new one."""
    with _lock:
        known = _open.get(site.id)
        if known is not None and known[0] >= site.generation:  # whoever read the row earlier gets the newer one too
            return known[1]
        driver = factory.connect(connection_of(site))
        _open[site.id] = (site.generation, driver)
    if known is not None:
        known[1].close()  # a call to a site: others need not wait for it
    return driver


def forget(site_id: UUID) -> None:
    """Close this process's sessions of a site."""
    with _lock:
        known = _open.pop(site_id, None)
    if known is not None:
        known[1].close()


@contextmanager
def asking() -> Iterator[None]:
    """What a driver cannot do now is tried later: NotReady backs off, Unreachable opens the site's circuit.

    Refused passes through: the caller knows what it means for its object.
    """
    try:
        yield
    except base.Unreachable as error:
        raise SiteDown(error.reason) from error
    except base.NotReady as error:
        raise ComeAgain(error.reason) from error


def reason(error: base.DriverError, action: str) -> dict[str, Any]:
    """An error as the `reason` of an object: code, sentence, next action."""
    return {"code": error.code, "sentence": error.reason, "action": action}
