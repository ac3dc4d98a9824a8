from pathlib import Path

from tenants.access import OPEN_TO_ALL, VERBS
from tenants.models import Role

PAGE = Path(__file__).resolve().parents[3] / "docs" / "roles.md"


def printed() -> str:
    """docs/roles.md as the table in tenants/access.py says it must read."""
    lines = [
        "# Roles",
        "",
        "Printed from the one table in `tenants/access.py` by `tests/unit/tenants/test_access.py`. A role counts at",
        "its place (platform, tenant or project) and below. Open to anyone who is logged in: "
        + ", ".join(f"`{verb}`" for verb in sorted(OPEN_TO_ALL))
        + ".",
        "",
        "| verb | " + " | ".join(role.value for role in Role) + " |",
        "|---|" + "---|" * len(Role),
    ]
    lines += [
        f"| `{verb}` | " + " | ".join("x" if role in roles else "" for role in Role) + " |"
        for verb, roles in VERBS.items()
    ]
    return "\n".join(lines) + "\n"


def test_the_printed_roles_are_the_table():
    assert PAGE.read_text() == printed(), "run: python -m tests.unit.tenants.test_access"


def test_an_auditor_only_reads():
    for verb, roles in VERBS.items():
        if verb.endswith((".write", ".create", ".kubeconfig")):
            assert Role.AUDITOR not in roles, verb


if __name__ == "__main__":
    PAGE.write_text(printed())
