"""A removal and a drain at work on the same VMs lock them in one order, whatever order their rows lie in."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event
from types import SimpleNamespace

from django.db import connection

from facet.rest.ids import uuid7
from facet.workloads import removal
from facet.workloads.models import VM, VmPhase
from tests import room
from tests.factories import as_system

from .test_ledger import at_once


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_locks where not granted")
        return cursor.fetchone()[0] > 0


def locked(vms):
    """As a drain locks them."""
    rows = VM.objects.filter(pk__in=[vm.id for vm in vms]).order_by("id")
    return list(rows.select_for_update(no_key=True))


@contextmanager
def transaction():
    with as_system():
        yield


def test_who_removes_vms_and_who_moves_them_do_not_wait_in_a_ring(acme):
    zone = room.land().zone
    with as_system():
        for id in sorted((uuid7() for _ in range(2)), reverse=True):
            VM.objects.create(
                id=id, tenant_id=acme.tenant.id, project=acme.project, zone=zone, name=f"vm-{id}", vcpu=1,
                memory_mib=1024, disk_gib=10, phase=VmPhase.RUNNING,
            )  # fmt: skip
        vms = list(VM.objects.order_by("id"))
    first_is_locked, turn = Event(), SimpleNamespace(transaction=transaction)

    def work(seat):
        if seat:
            assert first_is_locked.wait(10)
            removal._mark(turn, vms)
            return
        with as_system():
            locked(vms[:1])
            first_is_locked.set()
            while not somebody_waits():
                pass
            locked(vms)

    at_once(work, 2)
    with as_system():
        assert set(VM.objects.values_list("phase", flat=True)) == {VmPhase.DELETING}
