"""VMs at a site that Facet did not make, as a person with another client makes them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from infra import outside
from infra.drivers import base
from infra.models import Site, Zone
from tests.contract.room import Room
from tests.factories import as_system
from tests.ground import Ground


def room(land: Ground) -> Room:
    """A place of the hand's own at the land's site, in its first zone's vSphere cluster."""
    with as_system():
        driver = outside.driver_of(Site.objects.get(pk=land.site_id))
    return Room.make(land.site, driver)


def made(place: Room, name: str = "legacy", *, host_ref: str = "", power: str = "on") -> base.VmFacts:
    """Another's VM of 1 vCPU and 512 MiB, on this host or the room's own."""
    hand = place.site.by_hand
    ref = hand.make_vm(name, place.folder_ref, place.pool_ref, host_ref or place.host.ref, place.datastore_ref)
    key = next(vm.key for vm in place.driver.inventory().vms if vm.ref == ref)
    if power == "on":
        place.power(key, base.Power.ON)
    return place.driver.find_vms([key])[key]


def zone_id(land: Ground, name: str = "az1") -> UUID:
    with as_system():
        found: UUID = Zone.objects.get(name=name).id
    return found


def listed(land: Ground, name: str = "az1") -> Any:
    """What IT sees of a zone's unmanaged VMs."""
    return land.it.get(f"zones/{zone_id(land, name)}/unmanaged-vms")["items"]
