from django.db import migrations

from facet.rest.rls import owned_by_tenant


class Migration(migrations.Migration):
    dependencies = [("clusters", "0001_initial")]
    operations = [
        owned_by_tenant("clusters_cluster"),
        owned_by_tenant("clusters_nodepool"),
        owned_by_tenant("clusters_node"),
    ]
