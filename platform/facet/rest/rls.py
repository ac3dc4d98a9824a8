"""Row-level security as migration operations: who may see a table's rows.

`facet_app` (web and workers) sees the tenants named in `app.tenants`; a session that has not said which fails, because
`current_setting` is asked without its missing_ok. `facet_system`, entered by SET LOCAL ROLE, sees all. The owner is not
bound (ENABLE, not FORCE), or data migrations would change no rows.
"""

from __future__ import annotations

from django.db import migrations

APP_ROLE = "facet_app"
SYSTEM_ROLE = "facet_system"

GRANTS = f"""
alter default privileges in schema public grant select, insert, update, delete on tables to {APP_ROLE}, {SYSTEM_ROLE};
alter default privileges in schema public grant usage, select on sequences to {APP_ROLE}, {SYSTEM_ROLE};
grant select on django_migrations to {APP_ROLE};
"""


def owned_by_tenant(table: str, column: str = "tenant_id") -> migrations.RunSQL:
    """A policy for a tenant-owned table."""
    return migrations.RunSQL(
        f"""
        alter table {table} enable row level security;
        create policy own_tenants on {table} to {APP_ROLE}
            using ({column} = any ((select current_setting('app.tenants')::uuid[])::uuid[]));
        create policy everything on {table} to {SYSTEM_ROLE} using (true);
        """,
        f"""
        drop policy own_tenants on {table};
        drop policy everything on {table};
        alter table {table} disable row level security;
        """,
    )
