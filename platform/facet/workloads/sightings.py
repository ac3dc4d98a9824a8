"""What a site shows of a VM, onto its row: by the passes that ask, and by whoever watches the site."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from infra.drivers.base import VmFacts

from .models import VM

SEEN_ANEW = timedelta(seconds=60)  # that a VM was seen again, and nothing else, is written down this often


def write(vm: VM, seen: VmFacts) -> bool:
    """Bring a row that has just been read to what is seen; whether it told anything else. In a transaction.

    Its ref is set once, from nothing: a second worker's finding changes nothing.
    """
    if vm.external_ref is None:
        VM.objects.filter(pk=vm.pk, external_ref=None).update(external_ref=seen.ref)
    told = list(seen.addresses)
    differs = (vm.power, vm.address, vm.addresses) != (seen.power.value, seen.address, told)
    differs = differs or vm.missing_at is not None
    now = timezone.now()
    if differs or vm.seen_at is None or vm.seen_at < now - SEEN_ANEW:
        VM.objects.filter(pk=vm.pk).update(
            power=seen.power.value, address=seen.address, addresses=told, seen_at=now, missing_at=None
        )
    return differs
