"""The console log of a VM, asked of its site."""

from __future__ import annotations

from facet.rest.problems import Conflict
from infra import outside
from infra.drivers import base

from .models import VM, VmPhase

NOT_YET = (VmPhase.PENDING, VmPhase.CLONING)


def driver_for(vm: VM) -> base.Driver:
    """In a context: the driver of its site. Raises Conflict for a VM that does not stand yet."""
    if vm.phase in NOT_YET:
        raise Conflict(f"{vm.name} is still being made.", code="no_console")
    return outside.driver_of(vm.zone.site)


def read(vm: VM, driver: base.Driver) -> str:
    """Raises Conflict: `no_console` with the reason, `site_unreachable`."""
    try:
        return driver.console_log(vm.id)
    except base.Refused as refused:
        raise Conflict(refused.reason, code="no_console") from None
    except base.DriverError:
        raise Conflict(
            "The site of its zone does not answer. Ask again when it does.", code="site_unreachable"
        ) from None
