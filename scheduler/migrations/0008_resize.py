"""Another size for a holder where it stands: its allocation is closed and a new one opened at one moment."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0007_moves")]
    operations = []
