"""A plan that is kept may be older than the rows: made over empty tables it would read them whole until the next analyze."""

from django.db import migrations

FUNCTIONS = ("ledger_commit(jsonb)", "fleet_since(xid8)")


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0010_kept_plans")]
    operations = [
        migrations.RunSQL(
            "; ".join(f"alter function {name} set enable_seqscan = off" for name in FUNCTIONS),
            "; ".join(f"alter function {name} reset enable_seqscan" for name in FUNCTIONS),
        )
    ]
