"""A request's ground has the networks that are lent to its tenant, and no others."""

from django.db import migrations

from facet.rest.functions import patched

BEFORE = "where n.present and l.zone_id = any(zone_ids)"
AFTER = """where n.present and l.zone_id = any(zone_ids) and (n.offered_to_all or exists (
            select from infra_networkoffer o where o.network_id = n.id and o.tenant_id = p_tenant))"""


class Migration(migrations.Migration):
    dependencies = [("workloads", "0009_site_name"), ("infra", "0005_layers")]
    operations = [patched("vm_ground(text[], text, text, uuid, uuid)", (BEFORE, AFTER))]
