"""A VM may bear another name at its site than the one that its project knows it by."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workloads", "0008_resizing")]
    operations = [
        migrations.AddField(
            model_name="vm",
            name="site_name",
            field=models.CharField(
                blank=True, default="", help_text="its name at the site, where that is another", max_length=255
            ),
        ),
    ]
