"""A holder on its way to another host: the destination is claimed first, the source is freed when it was seen there."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0006_row_security_of_moves")]
    operations = []
