"""The product's settings with the paths of this test process; pytest-django reads them before any conftest."""

import os
import tempfile
from pathlib import Path

OWN_HOME = Path(tempfile.mkdtemp(prefix="facet-test-"))
(OWN_HOME / "static").mkdir()  # whitenoise looks for it
os.environ["FACET_HOME"] = str(OWN_HOME)
os.environ["FACET_SECRET_KEY"] = "only for tests, and long enough to be taken for a key"
os.environ["FACET_KEYS_FILE"] = str(OWN_HOME / "keys.json")
os.environ["FACET_DATABASE_URL"] = f"postgresql://facet_app@/facet?host={OWN_HOME}/pg/run"
os.environ["FACET_OWNER_DATABASE_URL"] = f"postgresql://facet_owner@/facet?host={OWN_HOME}/pg/run"
os.environ["FACET_REDIS_URL"] = f"unix://{OWN_HOME}/no-valkey.sock?db=0"
os.environ.setdefault("FACET_LOG_LEVEL", "WARNING")

from facet.settings import *  # noqa: E402, F403  the environment above comes first

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # for tests alone: a real one takes 0.3 s of CPU
