"""Before any table: what the roles of the web and the workers may do with tables of the owner."""

from django.db import migrations

from facet.rest.rls import GRANTS


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    run_before = [("contenttypes", "0001_initial"), ("auth", "0001_initial"), ("sessions", "0001_initial")]
    operations = [migrations.RunSQL(GRANTS, migrations.RunSQL.noop)]
