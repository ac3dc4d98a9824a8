from django.db import migrations

from facet.rest.rls import owned_by_tenant

TABLES = ("network", "firewall", "nic", "address", "volume", "snapshot")


class Migration(migrations.Migration):
    dependencies = [("workloads", "0006_layers")]
    operations = [owned_by_tenant(f"workloads_{table}") for table in TABLES]
