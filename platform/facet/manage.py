"""`facet-manage`: Django's management commands, for an installed server."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")
    name, *rest = sys.argv[1:] or [""]
    command = name if name.startswith("-") else name.replace("-", "_")  # rotate-keys is a module's name with _
    execute_from_command_line([sys.argv[0], *filter(None, [command]), *rest])


if __name__ == "__main__":
    main()
