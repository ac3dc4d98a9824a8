"""quota_take keeps its plans, as ledger_commit does, which calls it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_login_failures")]
    operations = [
        migrations.RunSQL(
            "alter function quota_take(uuid, uuid, jsonb) set plan_cache_mode = force_generic_plan",
            "alter function quota_take(uuid, uuid, jsonb) reset plan_cache_mode",
        )
    ]
