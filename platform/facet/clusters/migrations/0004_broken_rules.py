from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('clusters', '0003_placement_rules'),
    ]

    operations = [
        migrations.AddField(
            model_name='cluster',
            name='broken_rules',
            field=models.JSONField(default=list, help_text='group, host and nodes that share it; see witness.py'),
        ),
    ]
