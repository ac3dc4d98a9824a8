"""A request's ground has the networks that are lent to its tenant, and no others."""

from django.db import migrations

BEFORE = "where n.present and l.zone_id = any(zone_ids)"
AFTER = """where n.present and l.zone_id = any(zone_ids) and (n.offered_to_all or exists (
            select from infra_networkoffer o where o.network_id = n.id and o.tenant_id = p_tenant))"""

# The rest of the function stays as it is, with the plans that it keeps.
CHANGED = """
do $do$
declare
    was text := pg_get_functiondef('vm_ground(text[], text, text, uuid, uuid)'::regprocedure);
    changed text := replace(was, $before${before}$before$, $after${after}$after$);
begin
    if changed = was then
        raise exception 'vm_ground is not the function that this migration knows';
    end if;
    execute changed;
end $do$
"""


class Migration(migrations.Migration):
    dependencies = [("workloads", "0009_site_name"), ("infra", "0005_layers")]
    operations = [
        migrations.RunSQL(CHANGED.format(before=BEFORE, after=AFTER), CHANGED.format(before=AFTER, after=BEFORE))
    ]
