"""A look tells projects' own networks beside those that zones lend: a VM on one stands where its network leads."""

from django.db import migrations

BEFORE = "join infra_physicalnetwork_zones z on z.physicalnetwork_id = n.id where n.present"
AFTER = """join (select l.physicalnetwork_id, l.zone_id from infra_physicalnetwork_zones l
          union all select o.id, o.of_zone_id from infra_physicalnetwork o where o.of_zone_id is not null) z
    on z.physicalnetwork_id = n.id where n.present"""

# The rest of the function stays as it is, with the plans that it keeps.
CHANGED = """
do $do$
declare
    was text := pg_get_functiondef('fleet_since(xid8)'::regprocedure);
    changed text := replace(was, $before${before}$before$, $after${after}$after$);
begin
    if changed = was then
        raise exception 'fleet_since is not the function that this migration knows';
    end if;
    execute changed;
end $do$
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0016_row_security_of_volume_claims"), ("infra", "0007_own_networks")]
    operations = [
        migrations.RunSQL(CHANGED.format(before=BEFORE, after=AFTER), CHANGED.format(before=AFTER, after=BEFORE))
    ]
