"""The way to a simulated datacenter: JSON over HTTP. Raises errors of the contract, which never hold what was sent."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from .base import Connection, DriverError, NotReady, Refused, Unreachable

CONNECTIONS = 64
IDLE_S = 30.0  # a kept connection is left before the simulator leaves it
Document = dict[str, Any]


class Way:
    """One simulator, for all threads of a process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._endpoint = connection.endpoint.rstrip("/")
        self._timeout_s = connection.call_timeout_s
        self._client = httpx.Client(
            auth=httpx.BasicAuth(connection.username, connection.password),
            verify=_trust(connection),
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=IDLE_S),
            trust_env=False,
        )

    def ask(self, verb: str, *, wait_s: float = 0.0, **request: Any) -> Document:
        """The simulator's answer to one call; `wait_s` is how long it may take to have something to say."""
        if verb == "changes":
            request["wait_s"] = wait_s
        try:
            patience = httpx.Timeout(self._timeout_s, read=self._timeout_s + wait_s)
            answer = self._client.post(f"{self._endpoint}/v1/{verb}", json=request, timeout=patience)
        except httpx.TimeoutException as error:
            raise Unreachable(f"{self._endpoint} did not answer in time.", code="timeout") from error
        except httpx.UnsupportedProtocol as error:
            raise Refused("The endpoint of a simulator is like http://127.0.0.1:8802.", code="invalid") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:  # the last: a name no DNS can have
            raise Unreachable(f"{self._endpoint} cannot be reached: {error}") from error
        except RuntimeError as error:  # httpx, of a client that was closed
            raise Unreachable("This connection was given back.", code="session_lost") from error
        return self._understood(answer)

    def close(self) -> None:
        self._client.close()

    def _understood(self, answer: httpx.Response) -> Document:
        try:
            document = answer.json()
        except ValueError:
            document = None
        if answer.status_code == 200 and isinstance(document, dict):
            return document
        if not isinstance(document, dict) or "error" not in document or answer.status_code >= 500:
            raise Unreachable(f"{self._endpoint} does not answer like a simulator (status {answer.status_code}).")
        raise driver_error(document["error"])


def _trust(connection: Connection) -> ssl.SSLContext:
    """Only the site's CA, or the system's where none is given; over plain http nobody."""
    if not connection.endpoint.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context(cadata=connection.ca_pem or None)
    except ssl.SSLError as error:
        raise Refused("The CA given for this site is not a PEM certificate.", code="bad_certificate") from error


def driver_error(said: Document) -> DriverError:
    code, reason = str(said["code"]), str(said["reason"])
    return NotReady(reason) if code == NotReady.code else Refused(reason, code=code)
