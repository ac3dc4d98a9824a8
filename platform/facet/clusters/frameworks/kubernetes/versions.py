"""Kubernetes versions: which are offered, and which may follow which."""

from __future__ import annotations

import re
from typing import NamedTuple

from facet.clusters.frameworks.base import BadSpec

_FORM = re.compile(r"v(\d{1,3})\.(\d{1,3})\.(\d{1,4})(?:[-+][0-9A-Za-z.+-]{1,64})?", re.ASCII)


class Version(NamedTuple):
    """Compared by number; what follows a `-` or `+` (as in v1.34.2+simulated) does not count."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"


OLDEST = Version(1, 31, 0)  # the first kubeadm with v1beta4


def parse(text: str) -> Version:
    """Raises BadSpec("version", ...)."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadSpec("version", f"{text[:80]!r} is not a version such as v1.34.2.")
    return Version(int(match[1]), int(match[2]), int(match[3]))


def check_offered(text: str) -> Version:
    """A version that a new cluster may have. Raises BadSpec."""
    version = parse(text)
    if version < OLDEST or version.major != OLDEST.major:
        raise BadSpec("version", f"{version} is not offered: clusters start at v{OLDEST.major}.{OLDEST.minor}.")
    return version


def check_upgrade(current: str, target: str) -> None:
    """One minor version at a time, never back. Raises BadSpec with the path to take."""
    before, after = parse(current), check_offered(target)
    if after < before:
        raise BadSpec("version", f"{after} is older than {before}: a cluster never goes back.")
    if after.major != before.major or after.minor > before.minor + 1:
        path = ", ".join(f"v{before.major}.{minor}" for minor in range(before.minor + 1, after.minor))
        raise BadSpec(
            "version", f"{after} skips minor versions after {before}: upgrade to {path} first, one at a time."
        )
