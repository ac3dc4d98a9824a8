"""`facet-manage init`: the way in for the first admin."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tenants import first_admin, isolation


class Command(BaseCommand):
    help = "Print a one-time link (valid for an hour) by which the first admin chooses name and password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="", help="Facet's address as browsers reach it; else bind and port")

    def handle(self, *args: Any, **options: Any) -> None:
        with isolation.context(isolation.SYSTEM):
            if first_admin.exists():
                raise CommandError("There is an admin already. An admin makes others: facet user create, member add.")
        scheme = "https" if settings.FACET_TLS_CERT else "http"
        base = options["url"].rstrip("/") or f"{scheme}://{settings.FACET_BIND}:{settings.FACET_PORT}"
        self.stdout.write(f"{base}/welcome?token={first_admin.invitation()}")
