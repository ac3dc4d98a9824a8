from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workloads", "0007_row_security_of_layers")]

    operations = [
        migrations.AddField(
            model_name="vm",
            name="resizing",
            field=models.JSONField(
                help_text="another size on its way: {was, may_stop, begun, off}; null: none", null=True
            ),
        ),
    ]
