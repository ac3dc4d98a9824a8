from django.db import migrations

from facet.rest.rls import owned_by_tenant


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0015_volume_claims")]
    operations = [owned_by_tenant("scheduler_volumeclaim")]
