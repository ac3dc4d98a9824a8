from django.db import migrations

from facet.rest.rls import owned_by_tenant


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0005_spare_and_moves")]
    operations = [owned_by_tenant("scheduler_move")]
