"""One login at one vCenter, shared by all threads of a process.

Nothing is called before the first need. A session that the vCenter ended is opened again once, and the call that met
its end is made again: vCenter refuses such a call before it does anything.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree

from pyVmomi import SoapStubAdapter, VmomiSupport, vim

from ..base import Connection, DriverError, Refused, Unreachable
from .faults import translated

T = TypeVar("T")
CONNECTIONS = 8
IDLE_S = 20  # a connection is left before the other side leaves it, or the next call would meet its end
LONGEST_WAIT_S = 60.0  # of one long poll
LARGEST_LIST = 1 << 20  # bytes of the list of API versions
OLDEST_VERSION = "vim.version.version12"  # vSphere 6.5
AFTER_A_BAD_LOGIN_S = 20.0  # a wrong password is not tried again sooner: vCenter locks accounts


class Session:
    """The way to one vCenter. Every call through `call` raises only errors of the contract."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.key = ""  # vCenter's name of the session
        self.generation = 0  # counts logins; what lives in a session remembers in which
        self._lock = threading.RLock()
        self._stub: Any = None
        self._waiting_stub: Any = None
        self._door: Callable[[], Any] = lambda: None
        self._content: Any = None
        self._refused: tuple[float, Refused] | None = None
        self._closed = False

    # --- calling ---------------------------------------------------------------------------------------------------

    def call(self, method: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call a method of a managed object."""
        generation = self.login()
        with translated(self.connection.endpoint):
            try:
                return method(*args, **kwargs)
            except vim.fault.NotAuthenticated:
                self.login(instead_of=generation)
                return method(*args, **kwargs)

    @property
    def content(self) -> Any:
        """The ServiceContent of a session that is open."""
        self.login()
        return self._content

    def object(self, kind: Any, ref: str) -> Any:
        """The managed object that a ref names. `Type:id` names its type, a bare id is of `kind`."""
        self.login()
        named, _, bare = ref.partition(":")
        if bare and named.isalpha() and named[0].isupper():
            return VmomiSupport.GetVmodlType(f"vim.{_SPELLING.get(named, named)}")(bare, self._stub)
        return kind(ref, self._stub)

    def waiting(self, obj: Any) -> Any:
        """The same object for a long poll: on a connection that bears a silence of LONGEST_WAIT_S."""
        self.login()
        return type(obj)(obj._moId, self._waiting_stub)

    @contextmanager
    def beside(self, path: str, version: str) -> Iterator[Any]:
        """The way to another service of this vCenter, in this session; what goes wrong inside is of the contract."""
        self.login()
        there = urlsplit(self.connection.endpoint)
        cookie = self._stub.cookie
        with translated(self.connection.endpoint):
            stub = _Stub(
                host=there.hostname,
                port=there.port or 443,
                path=path,
                version=version,
                poolSize=1,
                sslContext=context_of(self.connection.ca_pem),
                httpConnectionTimeout=self.connection.call_timeout_s,
                requestContext={"vcSessionCookie": cookie.partition("=")[2].partition(";")[0].strip('"')},
            )
            stub.hold(cookie)
            try:
                yield stub
            finally:
                stub.DropConnections()

    # --- logging in and out ----------------------------------------------------------------------------------------

    def login(self, *, instead_of: int | None = None) -> int:
        """Make sure of a session and give its number; `instead_of` a number, of a newer one."""
        with self._lock:
            if self._closed:
                raise Unreachable("This session was given back.", code="session_lost")
            if self.generation and self.generation != instead_of:
                return self.generation
            if self._refused and time.monotonic() < self._refused[0]:
                raise self._refused[1]
            try:
                self._open()
            except Refused as refused:
                self._refused = (time.monotonic() + AFTER_A_BAD_LOGIN_S, refused)
                raise
            self._refused = None
            self.generation += 1
            return self.generation

    def close(self) -> None:
        """Give the session back, for good. A vCenter that does not answer forgets it by itself."""
        with self._lock:
            if self._closed or self._stub is None:
                self._closed = True
                return
            self._closed = True
            if self.generation:
                with suppress(DriverError), translated(self.connection.endpoint):
                    self._content.sessionManager.Logout()
            for stub in (self._stub, self._waiting_stub):  # kept: another thread may be in the middle of a call
                stub.DropConnections()

    def _open(self) -> None:
        endpoint = self.connection.endpoint
        with translated(endpoint):
            if self._stub is None:
                self._stub, self._waiting_stub = self._stubs()
            content = self._retrieve_content()
            door = self._door()
            manager: Any = vim.SessionManager(content.sessionManager._moId, door)
            self.key = str(manager.Login(self.connection.username, self.connection.password).key)
            for stub in (self._stub, self._waiting_stub):
                stub.hold(door.cookie)
            door.DropConnections()
            self._content = content

    def _retrieve_content(self) -> Any:
        try:
            return vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # pyVmomi, of XML that is not SOAP
            raise Unreachable(f"{self.connection.endpoint} does not answer like a vCenter.") from error

    def _stubs(self) -> tuple[Any, Any]:
        """For short calls, and for long polls; and from now on `_door` for logging in."""
        there = urlsplit(self.connection.endpoint)
        if there.scheme != "https" or not there.hostname:
            raise Refused("The endpoint of a vCenter is https://<name>/sdk.", code="invalid")
        host, port, path = there.hostname, there.port or 443, there.path.rstrip("/") or "/sdk"
        context = context_of(self.connection.ca_pem)
        timeout_s = self.connection.call_timeout_s
        version = _version(host, port, path, context, timeout_s)

        def stub(kind: Any, patience_s: float) -> Any:
            return kind(
                host=host,
                port=port,
                path=path,
                version=version,
                poolSize=CONNECTIONS,
                connectionPoolTimeout=IDLE_S,
                sslContext=context,
                httpConnectionTimeout=patience_s,
            )

        self._door = lambda: stub(SoapStubAdapter, timeout_s)
        return stub(_Stub, timeout_s), stub(_Stub, timeout_s + LONGEST_WAIT_S)


class _Stub(SoapStubAdapter):  # type: ignore[misc]  # pyVmomi has no types
    """Calls in the session that it was given. pyVmomi's own takes the cookie of whatever answer came last, so that
    the answer to a call which met the end of one session would end the next, that another thread has just opened."""

    _held = ""

    def hold(self, cookie: str) -> None:
        self._held = cookie

    @property
    def cookie(self) -> str:
        return self._held

    @cookie.setter
    def cookie(self, cookie: str) -> None:
        """Ignored."""


# pyVmomi spells a few types apart from their names on the wire
_SPELLING = {
    "DistributedVirtualPortgroup": "dvs.DistributedVirtualPortgroup",
    "VmwareDistributedVirtualSwitch": "dvs.VmwareDistributedVirtualSwitch",
}


def wire_name(obj: Any) -> str:
    """The type of a managed object as vCenter spells it, e.g. `DistributedVirtualPortgroup`."""
    return type(obj).__name__.rsplit(".", 1)[-1]


def ref_of(obj: Any, kind: Any) -> str:
    """The ref of an object: its bare id where its type is `kind`, else `Type:id`."""
    return str(obj._moId) if type(obj) is kind else f"{wire_name(obj)}:{obj._moId}"


def context_of(ca_pem: str) -> ssl.SSLContext:
    """Always given to pyVmomi: without a context it does not verify localhost at all."""
    try:
        return ssl.create_default_context(cadata=ca_pem or None)
    except ssl.SSLError as error:
        raise Refused("The CA given for this site is not a PEM certificate.", code="bad_certificate") from error


def _version(host: str, port: int, path: str, context: ssl.SSLContext, timeout_s: float) -> str:
    """The newest API version that the vCenter and pyVmomi both know."""
    way = HTTPSConnection(host, port, context=context, timeout=timeout_s)
    try:
        way.request("GET", f"{path}/vimServiceVersions.xml")
        answer = way.getresponse()
        offered = _offered(answer.read(LARGEST_LIST)) if answer.status == 200 else set()
    finally:
        way.close()
    for version in VmomiSupport.GetServiceVersions("vim25"):
        if VmomiSupport.versionIdMap.get(version) in offered:
            return str(version)
    return OLDEST_VERSION


def _offered(text: bytes) -> set[str | None]:
    """Versions named in a vimServiceVersions.xml; none where it is something else."""
    try:
        namespaces = ElementTree.fromstring(text).findall("namespace")  # noqa: S314 - from a verified vCenter
    except ElementTree.ParseError:
        return set()
    return {
        one.text for part in namespaces for one in (*part.iterfind("version"), *part.iterfind("priorVersions/version"))
    }
