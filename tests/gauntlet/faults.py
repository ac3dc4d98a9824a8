"""What the outside does: hosts shrink, grow, go and come back, others put VMs on them and fill datastores, IT closes
hosts and changes overcommit. Each change that may take room away is written down with it (course.injured)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.utils import timezone

from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid
from infra import services
from infra.apart import Unmanaged
from infra.drivers.base import DatastoreFacts, HostFacts, HostState
from infra.models import Datastore, Host, Zone, ZonePhase
from infra.room import write_datastores, write_hosts
from tests.factories import as_system
from tests.gauntlet.course import Course, Place, injured

NOBODY = Unmanaged({}, {}, {})


@contextmanager
def hurting(ids: Sequence[UUID]) -> Iterator[None]:
    with as_system():
        yield
        injured(ids)


class Outside:
    """Dice that speak as the site, and as IT at the site."""

    def __init__(self, course: Course, dice: random.Random) -> None:
        self.course, self.dice = course, dice
        self.verbs: Mapping[str, Callable[[], None]] = {
            "hosts-change": self.hosts,
            "datastores-fill": self.datastores,
            "cordon": self.cordon,
            "overcommit": self.overcommit,
            "zone-closed": self.close,
            "all-well": self.heal,
        }

    def hosts(self) -> None:
        """Some hosts come back smaller, or with VMs on them that nobody claimed; or are down."""
        place = self.dice.choice(self.course.places)
        some = self.dice.sample(place.hosts, self.dice.randint(1, len(place.hosts)))
        facts = [self.fact(place, host, self.dice.choice((0.5, 0.75, 1.0, 1.25))) for host in some]
        others = {fact.ref: self.dice.choice((0, 0, 1, 3)) for fact in facts}
        taken = Unmanaged(others, {ref: 1024 * vcpu for ref, vcpu in others.items()}, {})
        write_hosts(place.zone.site, facts, taken, lambda: hurting([host.id for host in some]), timezone.now())

    def fact(self, place: Place, host: Host, part: float, state: HostState | None = None) -> HostFacts:
        up = self.dice.random() < 0.9
        return HostFacts(
            ref=host.ref, name=host.name, compute_ref=host.compute_ref, vsphere_cluster=host.vsphere_cluster,
            cpu_cores=int(host.cpu_cores * part), core_mhz=host.core_mhz, memory_mib=int(host.memory_mib * part),
            state=state or (HostState.UP if up else HostState.MAINTENANCE),
            datastore_refs=tuple(store.ref for store in place.stores),
        )  # fmt: skip

    def datastores(self) -> None:
        place = self.dice.choice(self.course.places)
        store = self.dice.choice(place.stores)
        with as_system():
            now = Datastore.objects.get(pk=store.pk)
        others = self.dice.choice((0, 0, 50, 200))
        fact = DatastoreFacts(
            now.ref, now.name, now.kind, now.capacity_gib, max(0, now.capacity_gib - now.claimed_gib - others),
            accessible=self.dice.random() < 0.9,
        )  # fmt: skip
        ours = Unmanaged({}, {}, {now.ref: now.claimed_gib})
        write_datastores(place.zone.site, [fact], ours, lambda: hurting([store.id]))

    def cordon(self) -> None:
        host = self.dice.choice(self.dice.choice(self.course.places).hosts)
        with as_system():
            Host.objects.filter(pk=host.pk).update(cordoned=self.dice.random() < 0.3, changed=CurrentXid())

    def overcommit(self) -> None:
        place = self.dice.choice(self.course.places)
        with hurting([host.id for host in place.hosts]):
            zone = Zone.objects.select_related("site").get(pk=place.zone.pk)
            services.update_zone(zone=zone, changes={"cpu_overcommit": self.dice.choice((1, 1, 2))}, by=SYSTEM)

    def close(self) -> None:
        place = self.dice.choice(self.course.places)
        phase = self.dice.choice((ZonePhase.ACTIVE, ZonePhase.ACTIVE, ZonePhase.DRAINING))
        with as_system():
            Zone.objects.filter(pk=place.zone.pk).update(phase=phase)

    def heal(self) -> None:
        """One zone is as it was made."""
        place = self.dice.choice(self.course.places)
        facts = [self.fact(place, host, 1.0, HostState.UP) for host in place.hosts]
        ids = [host.id for host in place.hosts]
        write_hosts(place.zone.site, facts, NOBODY, lambda: hurting(ids), timezone.now())
        with as_system():
            Host.objects.filter(pk__in=ids).order_by("id").select_for_update(no_key=True)
            Zone.objects.filter(pk=place.zone.pk).update(phase=ZonePhase.ACTIVE)
        for host in place.hosts:
            with as_system():
                Host.objects.filter(pk=host.pk).update(cordoned=False, changed=CurrentXid())
