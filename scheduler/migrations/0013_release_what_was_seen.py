"""A release closes only the allocations that stood when it began: their hosts are the ones that it locked.

A rival that held the lock may have released a holder and claimed for it again, on another host. That claim is a later
one and stays; to take it back as well would lock its host out of turn (two such releases then wait in a circle).
"""

from django.db import migrations

DECLARED = """    give_back jsonb;
begin
"""
SEEN = """    give_back jsonb;
    seen uuid[];
begin
    select array_agg(a.id) into seen from scheduler_allocation a
    where a.tenant_id = p_tenant and a.project_id = p_project and a.holder = any (p_holders) and a.released is null;
"""

BY_HOLDER = """from scheduler_allocation a where a.tenant_id = p_tenant and a.project_id = p_project
               and a.holder = any (p_holders) and a.released is null
            union"""
BY_SEEN = """from scheduler_allocation a where a.id = any (seen)
            union"""

STILL_LIVE = """into gone from scheduler_allocation a
    where a.tenant_id = p_tenant and a.project_id = p_project and a.holder = any (p_holders) and a.released is null;"""
STILL_SEEN = """into gone from scheduler_allocation a
    where a.id = any (seen) and a.released is null;"""

# Each text, and how often the function has it.
CHANGES = ((DECLARED, SEEN, 1), (BY_HOLDER, BY_SEEN, 2), (STILL_LIVE, STILL_SEEN, 1))
RELEASE = "ledger_release(uuid, uuid, uuid[], jsonb)"


def changed(schema, changes) -> None:
    """Other texts in the function as the database has it, with the plans that it keeps."""
    with schema.connection.cursor() as cursor:
        cursor.execute("select pg_get_functiondef(%s::regprocedure)", [RELEASE])
        text = cursor.fetchone()[0]
        for before, after, times in changes:
            if text.count(before) != times:
                raise RuntimeError(f"{RELEASE} is not the function that this migration knows")
            text = text.replace(before, after)
        cursor.execute(text)


def forwards(apps, schema) -> None:
    changed(schema, CHANGES)


def backwards(apps, schema) -> None:
    changed(schema, [(after, before, times) for before, after, times in reversed(CHANGES)])


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0012_reach")]
    operations = [migrations.RunPython(forwards, backwards)]
