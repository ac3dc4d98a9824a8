"""As scheduler/migrations/0011: a plan that is kept goes by the indexes, however small the table was when it was made."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tenants", "0005_kept_plans")]
    operations = [
        migrations.RunSQL(
            "alter function quota_take(uuid, uuid, jsonb) set enable_seqscan = off",
            "alter function quota_take(uuid, uuid, jsonb) reset enable_seqscan",
        )
    ]
