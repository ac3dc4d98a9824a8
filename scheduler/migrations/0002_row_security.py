from django.db import migrations

from facet.rest.rls import owned_by_tenant


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0001_initial")]
    operations = [owned_by_tenant("scheduler_resourcepool"), owned_by_tenant("scheduler_allocation")]
