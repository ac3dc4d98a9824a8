"""Items of content libraries, which only vCenter's REST services know: told as templates, and deployed as VMs.

A session of its own, opened at the first need. Only OVF items are told: a VM template in a library is a template of the
inventory too, and found there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from ..base import Connection, DriverError, ImageSpec, NotReady, Refused, TemplateFacts, Unreachable
from .session import context_of

log = structlog.get_logger(__name__)
REF = "library-item:"
KIND = "library-item"
SESSION = "/rest/com/vmware/cis/session"
LIBRARY = "/rest/com/vmware/content/library"
DEPLOY = "/rest/com/vmware/vcenter/ovf/library-item"
MOST_ITEMS = 1000
KEPT_S = 300.0  # how long a listing is good
DETAILS_KEPT_S = 3600.0  # and what is known of one item
GIB = 1 << 30
LARGEST_ANSWER = 16 << 20
FULL = "unable_to_allocate_resource"
TAKEN = "already_exists"


class Library:
    """Thread-safe. Raises only errors of the contract."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._token = ""
        self._items: tuple[TemplateFacts, ...] = ()
        self._details: dict[str, tuple[float, TemplateFacts]] = {}
        self._names: dict[str, str] = {}
        self._listed_at: float | None = None

    def items(self) -> tuple[TemplateFacts, ...]:
        """Every OVF item. Where the libraries cannot be read now, what was known; a vCenter without them has none."""
        with self._lock:
            if self._listed_at is None or time.monotonic() - self._listed_at > KEPT_S:
                try:
                    self._items = self._list()
                except DriverError as error:  # a site is looked at all the same: its libraries are but one source
                    log.warning("content libraries cannot be read", site=self._connection.endpoint, error=error.reason)
                self._listed_at = time.monotonic()
            return self._items

    def deploy(self, spec: ImageSpec) -> str:
        """Make a VM of an item; its ref. Raises NotReady while that goes on, also where it does so unseen by us."""
        body = {
            "deployment_spec": {
                "name": spec.name, "accept_all_EULA": True, "default_datastore_id": spec.datastore_ref,
            },
            "target": {
                "resource_pool_id": spec.pool_ref, "host_id": spec.host_ref, "folder_id": spec.folder_ref,
            },
        }  # fmt: skip
        path = f"{DEPLOY}/id:{spec.template_ref.removeprefix(REF)}"
        try:
            with self._lock:
                done = self._ask("POST", path, params={"~action": "deploy"}, json=body)
        except Unreachable as error:
            if error.code == "timeout":
                raise NotReady(f"{spec.name} is being deployed from its content library.") from error
            raise
        if isinstance(done, Mapping) and done.get("succeeded"):
            return str(done["resource_id"]["id"])
        raise _not_deployed(spec, done)

    def close(self) -> None:
        """Give the session back. A vCenter that does not answer forgets it by itself."""
        with self._lock:
            if self._client is not None:
                if self._token:
                    with suppress(DriverError):
                        self._send("DELETE", SESSION)
                self._client.close()
                self._client, self._token = None, ""

    # --- listing ---------------------------------------------------------------------------------------------------

    def _list(self) -> tuple[TemplateFacts, ...]:
        try:
            ids = self._ask("POST", f"{LIBRARY}/item", params={"~action": "find"}, json={"spec": {"type": "ovf"}})
        except Refused as refused:
            if refused.code == "not_found":  # no such service
                return ()
            raise
        found = {str(id): self._detail(str(id)) for id in sorted(map(str, ids or ()))[:MOST_ITEMS]}
        self._details = {id: one for id, one in self._details.items() if id in found}
        return tuple(one for one in found.values() if one is not None)

    def _detail(self, id: str) -> TemplateFacts | None:
        known = self._details.get(id)
        if known is not None and time.monotonic() - known[0] < DETAILS_KEPT_S:
            return known[1]
        try:
            item = self._ask("GET", f"{LIBRARY}/item/id:{id}")
            library = self._library(str(item["library_id"]))
        except Refused as refused:
            if refused.code == "not_found":  # gone meanwhile
                return None
            raise
        name = str(item["name"])[:255]
        facts = TemplateFacts(
            ref=REF + id, name=name, path=f"/content-library/{library}/{name}"[:1024], vcpu=0, memory_mib=0,
            disk_gib=-(-int(item.get("size") or 0) // GIB), kind=KIND,
        )  # fmt: skip
        self._details[id] = (time.monotonic(), facts)
        return facts

    def _library(self, id: str) -> str:
        if id not in self._names:
            self._names[id] = str(self._ask("GET", f"{LIBRARY}/id:{id}")["name"])
        return self._names[id]

    # --- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """What it answers, in our session; one that has ended is opened again once."""
        if not self._token:
            self._login()
        answer = self._send(method, path, **more)
        if answer.status_code == 401:
            self._login()
            answer = self._send(method, path, **more)
        return _value(answer, self._connection.endpoint)

    def _login(self) -> None:
        self._token = ""
        who = (self._connection.username, self._connection.password)
        answer = self._send("POST", SESSION, auth=who, headers={"vmware-use-header-authn": "true"})
        if answer.status_code == 401:
            raise Refused("The vCenter refused the user name or the password.", code="bad_credentials")
        self._token = str(_value(answer, self._connection.endpoint))

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        endpoint = self._connection.endpoint
        try:
            if self._client is None:
                there = urlsplit(endpoint)
                self._client = httpx.Client(
                    base_url=f"https://{there.hostname}:{there.port or 443}",
                    verify=context_of(self._connection.ca_pem), timeout=self._connection.call_timeout_s,
                )  # fmt: skip
            headers = {"vmware-api-session-id": self._token} if self._token else {}
            return self._client.request(method, path, headers=headers | more.pop("headers", {}), **more)
        except httpx.TimeoutException as error:
            raise Unreachable(f"{endpoint} did not answer in time.", code="timeout") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise Unreachable(f"The REST services of {endpoint} cannot be reached: {type(error).__name__}") from error


def _value(answer: httpx.Response, endpoint: str) -> Any:
    """What stands in an answer. Raises what its status means; never with what we sent."""
    if answer.status_code == 403:
        raise Refused("The vCenter user may not use content libraries.", code="no_permission")
    if answer.status_code == 404:
        raise Refused("The vCenter does not know this item of a content library (any more).", code="not_found")
    if answer.status_code == 503:
        raise NotReady(f"The content libraries of {endpoint} are not ready.")
    try:
        body = answer.json() if answer.content[:1] else {}
    except ValueError as error:
        raise Unreachable(f"{endpoint} answers what is no JSON.") from error
    if not answer.is_success:
        raise _fault(str(body)[:300])
    return body.get("value") if isinstance(body, dict) else None


def _not_deployed(spec: ImageSpec, done: Any) -> DriverError:
    errors = (done.get("error") or {}).get("errors") or [] if isinstance(done, Mapping) else []
    said = " ".join(
        str(message.get("default_message", ""))
        for one in errors
        for message in (one.get("error") or {}).get("messages", ())
    )
    kinds = " ".join(str((one.get("error") or {}).get("@class", "")) for one in errors)
    if TAKEN in kinds:
        return NotReady(f"{spec.name} appeared meanwhile: look again.")
    if FULL in kinds:
        return Refused(f"There is not enough room for {spec.name}: {said}"[:300], code="no_space")
    return _fault(said or "It could not be deployed.")


def _fault(said: str) -> Refused:
    return Refused(f"The content library answered with a fault: {said}", code="fault")
