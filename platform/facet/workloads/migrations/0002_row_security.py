from django.db import migrations

from facet.rest.rls import owned_by_tenant


class Migration(migrations.Migration):
    dependencies = [("workloads", "0001_initial")]
    operations = [owned_by_tenant("workloads_vm"), owned_by_tenant("workloads_projectfolder")]
