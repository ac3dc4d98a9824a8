"""Lists are paged by the time at which their rows were made."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("infra", "0005_layers")]
    operations = [
        migrations.AddField(
            model_name="unmanagedvm",
            name="created_at",
            field=models.DateTimeField(auto_now_add=True, default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="unmanagedvm",
            name="seen_at",
            field=models.DateTimeField(help_text="when a look that told something new of it began"),
        ),
    ]
