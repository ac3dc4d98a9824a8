"""quota_take locks the rows of the zones that it changes, and those over all zones; no others.

Who takes quota twice in one transaction (a refused claim tries what would help) then meets the same rows the second
time. Rows of other zones, made meanwhile, may be held by one that waits for ours: the two would wait in a circle.
"""

from django.db import migrations

from facet.rest.functions import patched

BEFORE = """from jsonb_array_elements(p_amounts) a)
    order by q.project_id nulls last, q.id for no key update;"""
AFTER = """from jsonb_array_elements(p_amounts) a)
      and (q.zone_id is null or q.zone_id in (select (a ->> 'zone')::uuid from jsonb_array_elements(p_amounts) a))
    order by q.project_id nulls last, q.id for no key update;"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_plans_by_index")]
    operations = [patched("quota_take(uuid, uuid, jsonb)", (BEFORE, AFTER))]
