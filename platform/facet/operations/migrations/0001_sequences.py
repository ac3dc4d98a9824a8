from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("rest", "0001_grants")]
    operations = [
        migrations.RunSQL("create sequence operations_turn", "drop sequence operations_turn"),
        migrations.RunSQL("create sequence operations_event_seq", "drop sequence operations_event_seq"),
    ]
