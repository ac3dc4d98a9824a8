import pytest

from tests import factories


@pytest.fixture(autouse=True)
def _real_database(database):
    """Every test of this folder talks to PostgreSQL."""


@pytest.fixture
def admin():
    """IT: a platform-admin."""
    return factories.person("root", "platform-admin")


@pytest.fixture
def acme():
    return factories.office("acme")
