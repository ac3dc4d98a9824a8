"""Who claims for a holder that a rival has just claimed for ends at once, not in the unique index.

There it would wait for a release of that holder which is under way, and that release waits for our quota rows: a circle.
Once they are held no rival of the project can be between its own quota and its insert, so that one look is enough.
"""

from django.db import migrations

from facet.rest.functions import patched

BEFORE = "    insert into scheduler_allocation (id, tenant_id"
AFTER = """    if exists (select 1 from scheduler_allocation a
               where a.released is null and a.holder in (select c.holder from unnest(lines) c)) then
        raise unique_violation using constraint = 'one_live_allocation_per_holder',
            message = 'a rival has claimed for this holder meanwhile';
    end if;
    insert into scheduler_allocation (id, tenant_id"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0013_release_what_was_seen")]
    operations = [patched("ledger_commit(jsonb)", (BEFORE, AFTER))]
