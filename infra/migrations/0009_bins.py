"""A zone that DRS places in has one row that is claimed from: its bin, of which its hosts are members."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("infra", "0008_image_replicas")]
    operations = [
        migrations.AddField(
            model_name="host",
            name="bin",
            field=models.ForeignKey(
                help_text="of the zone whose room it is part of; such a host has no zone of its own",
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="members", to="infra.host",
            ),
        ),
        migrations.AddField(
            model_name="host",
            name="kind",
            field=models.CharField(choices=[("host", "Host"), ("bin", "Bin")], default="host", max_length=8),
        ),
        migrations.AddField(
            model_name="host",
            name="stands_for",
            field=models.IntegerField(default=1, help_text="of a bin: so many hosts are up"),
        ),
        migrations.AddField(
            model_name="host",
            name="largest_vcpu",
            field=models.BigIntegerField(help_text="of a bin: no VM is larger than its largest host", null=True),
        ),
        migrations.AddField(model_name="host", name="largest_memory_mib", field=models.BigIntegerField(null=True)),
    ]  # fmt: skip
