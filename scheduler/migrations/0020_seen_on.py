"""Room in a bin: a look tells how many hosts it stands for, and the host where DRS has put a VM is recorded."""

import django.db.models.deletion
from django.db import migrations, models

from facet.rest.functions import patched

BEFORE = "h.labels::text, h.name)"
AFTER = (
    "h.labels::text, h.name,\n               "
    "case when h.kind = 'bin' then json_build_array(h.stands_for, h.largest_vcpu, h.largest_memory_mib) end)"
)


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0019_volume_ledger"), ("infra", "0009_bins")]
    operations = [
        migrations.AddField(
            model_name="allocation",
            name="seen_on",
            field=models.ForeignKey(
                help_text="where DRS has put it: a host of the bin that it is claimed from; recorded, and not limited by",
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="infra.host",
            ),
        ),
        patched("fleet_since(xid8)", (BEFORE, AFTER)),
    ]  # fmt: skip
