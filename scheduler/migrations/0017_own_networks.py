"""A look tells projects' own networks beside those that zones lend: a VM on one stands where its network leads."""

from django.db import migrations

from facet.rest.functions import patched

BEFORE = "join infra_physicalnetwork_zones z on z.physicalnetwork_id = n.id where n.present"
AFTER = """join (select l.physicalnetwork_id, l.zone_id from infra_physicalnetwork_zones l
          union all select o.id, o.of_zone_id from infra_physicalnetwork o where o.of_zone_id is not null) z
    on z.physicalnetwork_id = n.id where n.present"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0016_row_security_of_volume_claims"), ("infra", "0007_own_networks")]
    operations = [patched("fleet_since(xid8)", (BEFORE, AFTER))]
