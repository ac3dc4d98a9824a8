"""What every group of verbs of the vSphere driver works with."""

from __future__ import annotations

from .finding import Finder
from .library import Library
from .session import Session


class Parts:
    """One vCenter's session and finder, opened at the first call."""

    _session: Session
    _finder: Finder
    _library: Library
