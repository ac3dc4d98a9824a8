import pytest

from tests import factories, ground


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


@pytest.fixture
def land(tmp_path):
    """A project with room in one zone of a simulated site; the engine's work is done by tests.work."""
    with ground.simulated(tmp_path) as found:
        yield found
