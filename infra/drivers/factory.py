"""From a Connection to its driver."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import cast

from .base import Connection, Driver
from .simulator import SimulatorDriver


def _vsphere(connection: Connection) -> Driver:
    """Imported at the first vCenter: pyVmomi is large, and a process without one need not carry it."""
    module = importlib.import_module("infra.drivers.vsphere.driver")
    return cast(Driver, module.VsphereDriver(connection))


DRIVERS: Mapping[str, Callable[[Connection], Driver]] = {"simulator": SimulatorDriver, "vsphere": _vsphere}


def connect(connection: Connection) -> Driver:
    """A driver for this site. Makes no call yet."""
    return DRIVERS[connection.driver](connection)
