"""Limits of hosts by the one formula: capacity x overcommit, less k of the N hosts' room; and ETags of storage classes."""

from django.db import migrations, models

# vSphere's percentage policy of N+k: each of a zone's N hosts keeps k/N of itself free. Only the zone's own columns are
# read. Whole numbers divide without rounding; where no more than k hosts are left, nothing may be placed at all.
HOST_LIMIT = """
create function host_limit(p_capacity bigint, p_overcommit numeric, p_failover_hosts integer, p_hosts integer)
returns bigint language sql immutable parallel safe as $$
    select div(p_capacity * p_overcommit * (greatest(p_hosts, 1) - least(p_failover_hosts, greatest(p_hosts, 1))),
               greatest(p_hosts, 1))::bigint
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("infra", "0003_placement_rules")]
    operations = [
        migrations.AddField(
            "zone",
            "hosts_counted",
            models.IntegerField(
                default=0, help_text="N of N+k: its hosts that are not gone, as its limits were reckoned"
            ),
        ),
        migrations.AddField("storageclass", "generation", models.BigIntegerField(default=1)),
        migrations.RunSQL(HOST_LIMIT, "drop function host_limit(bigint, numeric, integer, integer)"),
    ]
