"""`facet-manage`: Django's management commands, for an installed server."""

import os
import sys

from django.core.management import CommandError, execute_from_command_line

from facet import serving


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")
    name, *rest = sys.argv[1:] or [""]
    if name in serving.PROGRAMS and not rest:
        _become(name)
    command = name if name.startswith("-") else name.replace("-", "_")  # rotate-keys is a module's name with _
    execute_from_command_line([sys.argv[0], *filter(None, [command]), *rest])


def _become(name: str) -> None:
    """What the command does, without loading every room first: the program does that itself."""
    try:
        serving.become(name)
    except CommandError as error:
        sys.exit(f"CommandError: {error}")


if __name__ == "__main__":
    main()
