from django.db import migrations

from facet.rest.rls import owned_by_tenant


class Migration(migrations.Migration):
    dependencies = [("operations", "0002_tables")]
    operations = [owned_by_tenant("operations_operation"), owned_by_tenant("operations_event")]
