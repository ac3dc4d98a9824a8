"""Where a template lies is kept; a copy outlives its image until it is gone from its site."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("infra", "0007_own_networks")]
    operations = [
        migrations.AddField(
            model_name="template",
            name="datastore_refs",
            field=models.JSONField(default=list, help_text="where it lies; empty: not known"),
        ),
        migrations.AlterField(
            model_name="imagereplica",
            name="image",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="replicas", to="infra.image"
            ),
        ),
    ]
