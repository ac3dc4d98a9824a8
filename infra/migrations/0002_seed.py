"""What every installation begins with: its own id, and the flavors."""

from django.db import migrations

from facet.rest.ids import uuid7

FLAVORS = [  # name, vCPU, memory MiB, disk GiB
    ("tiny", 1, 1024, 10),
    ("small", 2, 2048, 20),
    ("medium", 4, 8192, 40),
    ("large", 8, 16384, 80),
    ("xlarge", 16, 65536, 160),
]


def seed(apps, editor):
    """In the migration's own transaction, as the owner: `default` is another role's connection."""
    alias = editor.connection.alias
    apps.get_model("infra", "Installation").objects.using(alias).create(id=uuid7())
    flavors = apps.get_model("infra", "Flavor").objects.using(alias)
    for name, vcpu, memory_mib, disk_gib in FLAVORS:
        flavors.create(id=uuid7(), name=name, vcpu=vcpu, memory_mib=memory_mib, disk_gib=disk_gib)


class Migration(migrations.Migration):
    dependencies = [("infra", "0001_initial")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
