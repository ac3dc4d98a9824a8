"""Guests for the few tests that ask what a node makes of it."""

from tests.unit.guests.conftest import site

__all__ = ["site"]
