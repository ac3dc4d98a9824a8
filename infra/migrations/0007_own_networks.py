"""A network that Facet made for a project is known in its zone, and lent to nobody."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("infra", "0006_unmanaged_created_at")]
    operations = [
        migrations.AddField(
            model_name="physicalnetwork",
            name="of_zone",
            field=models.ForeignKey(
                help_text="Facet made it for a project; never lent",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="own_networks",
                to="infra.zone",
            ),
        )
    ]
