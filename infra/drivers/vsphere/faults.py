"""What a vCenter or the way to it says when something went wrong, as the errors of the contract.

Sentences are for people. They hold what vCenter said and names of objects, never what we sent: a secret travels in
arguments, and no fault repeats those.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vim, vmodl

from ..base import DriverError, NotReady, Refused, Unreachable

NOT_NOW = (
    vim.fault.TaskInProgress,
    vim.fault.ConcurrentAccess,
    vim.fault.InvalidPowerState,  # somebody was faster: the next look sees what is
    vim.fault.Timedout,
    vmodl.fault.HostCommunication,
    vmodl.fault.RequestCanceled,
)
NO_SPACE = (vim.fault.NoDiskSpace, vim.fault.InsufficientStorageSpace, vim.fault.InsufficientDisks)
NEEDS_OFF = (vim.fault.CpuHotPlugNotSupported, vim.fault.MemoryHotPlugNotSupported)
WRONG = (
    vmodl.fault.InvalidArgument,
    vmodl.fault.NotSupported,
    vmodl.fault.InvalidType,
    vim.fault.InvalidName,
    vim.fault.CannotAccessVmComponent,  # a host that does not reach a VM's disk or network
    vim.fault.DatacenterMismatch,
)


def driver_error(fault: Any) -> DriverError:
    """A vim or vmodl fault, raised or found in a task, as the contract's error."""
    said = _said(fault)
    if isinstance(fault, vim.fault.NotAuthenticated):
        return Unreachable("The vCenter ended our session.", code="session_lost")
    if isinstance(fault, vim.fault.InvalidLogin):
        return Refused("The vCenter refused the user name or the password.", code="bad_credentials")
    if isinstance(fault, vim.fault.NoPermission):
        return Refused(f"The vCenter user lacks the privilege {fault.privilegeId or '?'}: {said}", code="no_permission")
    if isinstance(fault, vim.fault.DuplicateName):
        return Refused(f"The name {fault.name!r} is taken there already.", code="name_taken")
    if isinstance(fault, vim.fault.ToolsUnavailable):
        return Refused(f"The guest cannot be asked: {said}", code="no_guest_tools")
    if isinstance(fault, vim.fault.ResourceInUse):
        return Refused(f"Still in use: {fault.name or said}.", code="in_use")
    if isinstance(fault, NEEDS_OFF):
        return Refused(f"A running VM does not take this size: {said}", code="needs_power_off")
    if isinstance(fault, NOT_NOW):
        return NotReady(f"The vCenter is busy with this object: {said}")
    if isinstance(fault, NO_SPACE):
        return Refused(f"There is not enough room on the datastore: {said}", code="no_space")
    if isinstance(fault, vim.fault.InsufficientResourcesFault):
        return Refused(f"There are not enough resources: {said}", code="no_resources")
    if isinstance(fault, vmodl.fault.ManagedObjectNotFound):
        return Refused(f"The vCenter does not know {_name(fault.obj)} (any more).", code="not_found")
    if isinstance(fault, vim.fault.FileNotFound):
        return Refused(f"A file is missing on the datastore: {fault.file or said}", code="file_not_found")
    if isinstance(fault, vim.fault.InvalidState):
        return Refused(f"The vCenter cannot do this in the state that the object is in: {said}", code="invalid_state")
    if isinstance(fault, WRONG):
        return Refused(f"The vCenter does not take this: {said}", code="invalid")
    return Refused(f"The vCenter answered with a fault: {said}", code="fault")


@contextmanager
def translated(endpoint: str) -> Iterator[None]:
    """Whatever goes wrong inside comes out as an error of the contract."""
    try:
        yield
    except vmodl.MethodFault as fault:
        raise driver_error(fault) from fault
    except ssl.SSLCertVerificationError as error:
        raise Refused(
            f"The certificate of {endpoint} cannot be verified: {error.verify_message}", code="bad_certificate"
        ) from error
    except TimeoutError as error:
        raise Unreachable(f"{endpoint} did not answer in time.", code="timeout") from error
    except (OSError, HTTPException, ExpatError, UnicodeError) as error:  # the last: a name no DNS can have
        raise Unreachable(f"{endpoint} cannot be reached: {_short(error)}") from error


def _said(fault: Any) -> str:
    """vCenter's own words, or the name of the fault where it has none."""
    kind = type(fault).__name__.rsplit(".", 1)[-1]
    words = str(getattr(fault, "msg", "") or "").strip()
    part = getattr(fault, "invalidProperty", None)
    return " ".join(bit for bit in (words, f"[{kind}{': ' + part if part else ''}]") if bit)


def _name(obj: Any) -> str:
    return getattr(obj, "_moId", None) or "this object"


def _short(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
