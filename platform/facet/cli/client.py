"""HTTP to the API: bearer token, verified TLS, bounded retries of what may be said twice, problems as exceptions."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import httpx

from .config import Context
from .faults import ApiProblem, Fault, Unreachable, Usage

TIMEOUT_S = 30.0
PAUSES_S = (0.3, 0.9)  # before the second and the third try
PAGE_SIZE = 200
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BUSY = (502, 503, 504)

Document = dict[str, Any]


class Client:
    """One server, as one person or process. Use it as a context manager.

    Verbs raise ApiProblem for a refusal, Unreachable when no answer came, Fault for an answer that is not ours.
    """

    def __init__(self, context: Context) -> None:
        address = address_of(context.server)
        self.server = context.server
        self._http = httpx.Client(
            base_url=f"{context.server.rstrip('/')}/api/v1/",
            headers={"Accept": "application/json", "User-Agent": "facet-cli"},
            timeout=httpx.Timeout(TIMEOUT_S, connect=10.0),
            verify=_trust(address.scheme, context.ca_file),
            trust_env=address.hostname not in LOOPBACK,  # a proxy is no way to this machine
        )
        if context.token:
            self._http.headers["Authorization"] = f"Bearer {_ascii(context.token)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: object) -> Document:
        return self._ask("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Document:
        """The same key goes with every try, so that a lost answer does nothing twice."""
        return self._ask("POST", path, body=body or {}, headers={"Idempotency-Key": str(uuid.uuid4())})

    def patch(self, path: str, body: Mapping[str, Any]) -> Document:
        return self._ask("PATCH", path, body=body)

    def put(self, path: str, body: Mapping[str, Any]) -> Document:
        return self._ask("PUT", path, body=body)

    def delete(self, path: str) -> Document:
        return self._ask("DELETE", path)

    def items(self, path: str, **query: object) -> Iterator[Document]:
        """Every item of a list, page after page."""
        cursor: object = None
        while True:
            page = self.get(path, page_size=PAGE_SIZE, cursor=cursor, **query)
            yield from page.get("items", [])
            following = page.get("next")
            if not following or following == cursor or not page.get("items"):
                return
            cursor = following

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        params = {key: str(value) for key, value in (query or {}).items() if value is not None}
        try:
            request = self._http.build_request(method, path, params=params, json=body, headers=headers)
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise Usage("A name or an id holds characters that none of Facet's has.") from None
        repeatable = method in ("GET", "POST")
        for pause in (*PAUSES_S, None):
            try:
                response = self._http.send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if pause is None or _is_tls(error):
                    raise self._unreachable(error) from None
            except httpx.RequestError as error:
                if pause is None or not repeatable:
                    raise self._unreachable(error) from None
            else:
                if pause is None or not repeatable or not _try_again(response):
                    return self._answer(response)
            time.sleep(pause)  # before asking a server again that asked us to wait or was away
        raise AssertionError("the last try answers or raises")

    def _unreachable(self, error: httpx.RequestError) -> Fault:
        if _is_tls(error):
            hint = "Name the CA that signed its certificate: --ca-file at login, or FACET_CA_FILE."
            return Fault(f"{self.server} is not trusted: {error}", hint=hint)
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"{self.server} did not answer in time.")
        return Unreachable(f"{self.server} cannot be reached: {error}", hint="Is it running? Is the address right?")

    def _answer(self, response: httpx.Response) -> Document:
        if response.status_code == 204:
            return {}
        document = _document(response)
        if response.is_success and document is not None:
            return document
        if not response.is_success and not response.is_redirect:
            return self._refuse(response, document)
        where = response.headers.get("Location")
        hint = f"It points to {where}." if where else "Is this the address of a Facet server?"
        raise Fault(f"{self.server} gave an answer that is not Facet's ({response.status_code}).", hint=hint)

    def _refuse(self, response: httpx.Response, document: Document | None) -> Document:
        if document is not None and "code" in document:
            raise ApiProblem(response.status_code, document)
        if response.status_code in _BUSY:
            raise Unreachable(f"{self.server} is not ready ({response.status_code}).")
        raise Fault(
            f"{self.server} answered {response.status_code} {response.reason_phrase}, not in Facet's form.",
            hint="Is this the address of a Facet server?",
        )


def address_of(server: str) -> SplitResult:
    """The parts of a server's address. Raises Usage for what is none."""
    try:
        address = urlsplit(server)
        right = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        httpx.URL(server)
    except (ValueError, httpx.InvalidURL):
        right = False
    if not right:
        raise Usage(f"{server!r} is no address of a server, as https://facet.example.org is.")
    return address


def _try_again(response: httpx.Response) -> bool:
    """The server is starting, or still busy with the first saying of this very request."""
    if response.status_code in _BUSY:
        return True
    return response.status_code == 409 and (_document(response) or {}).get("code") == "in_progress"


def _document(response: httpx.Response) -> Document | None:
    try:
        found = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _trust(scheme: str, ca_file: str) -> ssl.SSLContext:
    """Whom to believe. Plain HTTP gets an empty one: it trusts nobody and costs no reading of the system's CAs."""
    if scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Usage(f"The CA file {ca_file} cannot be read: {error}") from None


def _is_tls(error: httpx.RequestError) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error) or "[SSL" in str(error)


def _ascii(token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise Usage("The token holds characters that no token of Facet has.")
    return token
