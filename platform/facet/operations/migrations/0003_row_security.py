from django.db import migrations

from facet.rest.rls import owned_by_tenant


class Migration(migrations.Migration):
    dependencies = [("operations", "0002_tables")]
    operations = [
        owned_by_tenant("operations_operation"),
        owned_by_tenant("operations_event"),
        # what a person does to their own account concerns no tenant: written by anyone, read by the platform alone
        migrations.RunSQL(
            "create policy own_acts on operations_event for insert to facet_app with check (tenant_id is null)",
            "drop policy own_acts on operations_event",
        ),
    ]
