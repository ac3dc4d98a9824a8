"""A plan may be older than the datastores of its zone and host: ledger_commit looks whether they still have them.

Who takes a datastore from a zone, or writes what a host reaches, locks that datastore's or host's row, as a claim does.
"""

from django.db import migrations

BEFORE = "where not (d.accessible and d.present) or (a.gib > 0"
AFTER = """where not (d.accessible and d.present)
       or exists (select 1 from unnest(lines) c join infra_host h on h.id = c.host
                  where c.datastore = d.id and (not h.datastore_refs ? d.ref or not exists (
                      select 1 from infra_datastore_zones z where z.datastore_id = d.id and z.zone_id = c.zone)))
       or (a.gib > 0"""

# The rest of the function stays as it is, with the plans that it keeps.
CHANGED = """
do $do$
declare
    was text := pg_get_functiondef('ledger_commit(jsonb)'::regprocedure);
    changed text := replace(was, $before${before}$before$, $after${after}$after$);
begin
    if changed = was then
        raise exception 'ledger_commit is not the function that this migration knows';
    end if;
    execute changed;
end $do$
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0011_plans_by_index")]
    operations = [
        migrations.RunSQL(
            CHANGED.format(before=BEFORE, after=AFTER),
            CHANGED.format(before=AFTER, after=BEFORE),
        )
    ]
