"""`manage.py init_embedded`: the tables of an embedded stack, and its first admin (password in FACET_HOME)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from facet.rest.access import SYSTEM
from tenants import isolation, members, people
from tenants.models import Role, User

ADMIN = "admin"


class Command(BaseCommand):
    help = (
        "Migrate, where the owner's database is named; make the first admin, `admin`, with FACET_HOME/admin-password."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if "owner" in settings.DATABASES:
            call_command("migrate", database="owner", stdout=self.stdout)
        password = (settings.FACET_HOME / "admin-password").read_text().strip()
        with isolation.context(isolation.SYSTEM):
            if User.objects.filter(name=ADMIN).exists():
                return
            people.create_user(name=ADMIN, password=password, by=SYSTEM)
            platform = {"tenant": None, "project": None, "group": None, "service_account": None}
            members.add_member(role=Role.PLATFORM_ADMIN, user=ADMIN, by=SYSTEM, **platform)
        self.stdout.write(f"made the user {ADMIN}")
