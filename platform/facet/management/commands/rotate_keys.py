"""`facet-manage rotate-keys`: a new key in the ring, and everything sealed with it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from facet.clusters.models import Cluster
from facet.rest import secrets
from facet.rest.secrets import Ring
from facet.workloads.models import VM
from infra.models import Site
from tenants import isolation

SLICE = 100


class Sealed(NamedTuple):
    """A column that holds what is sealed for `<owner>:<id>`."""

    model: type[Model]
    column: str
    owner: str


SEALED = (
    Sealed(Site, "password_sealed", "site"),
    Sealed(Cluster, "secrets_sealed", "cluster"),
    Sealed(Cluster, "token_sealed", "cluster"),
    Sealed(VM, "user_data_sealed", "vm"),
)


class Command(BaseCommand):
    help = "Add a key to the ring, make it current, and seal everything anew with it. Said again, it goes on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep", action="store_true", help="add no key: only seal anew what older keys sealed")

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(settings.FACET_KEYS_FILE)
        if not options["keep"]:
            try:
                Ring.add(path)
            except OSError as error:
                raise CommandError(
                    f"{path} cannot be written ({error.strerror}). Put a new key into it yourself, make it current, "
                    "and run rotate-keys --keep."
                ) from None
        secrets.forget_ring()
        current = Ring.read(path).current
        total = sum(self._again(sealed, current) for sealed in SEALED)
        self.stdout.write(f"{total} values are sealed anew with key {current}; older keys stay in the ring.")

    def _again(self, sealed: Sealed, current: str) -> int:
        """Short transactions; a value that moved meanwhile is left for the next run."""
        done = 0
        with isolation.context(isolation.SYSTEM):
            ids = list(sealed.model._default_manager.exclude(**{sealed.column: None}).values_list("pk", flat=True))
        for start in range(0, len(ids), SLICE):
            with isolation.context(isolation.SYSTEM):
                rows = sealed.model._default_manager.filter(pk__in=ids[start : start + SLICE])
                for pk, value in rows.values_list("pk", sealed.column):
                    before = bytes(value or b"")
                    if not before or before.startswith(f"{current}:".encode()):
                        continue
                    owner = f"{sealed.owner}:{pk}"
                    after = secrets.seal(secrets.unseal(before, owner=owner), owner=owner)
                    done += sealed.model._default_manager.filter(pk=pk, **{sealed.column: before}).update(
                        **{sealed.column: after}
                    )
        return done
