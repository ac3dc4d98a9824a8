"""What a driver says when a verb has not done its work."""

from __future__ import annotations


class DriverError(Exception):
    """What a driver says when a verb has not done its work. Carries a sentence for people, never a secret."""

    code = "driver_error"

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code


class NotReady(DriverError):
    """Nothing is wrong: come again later."""

    code = "not_ready"


class Refused(DriverError):
    """The layer said no and will say no again: fail with this reason.

    Codes in use: `bad_credentials`, `bad_certificate`, `no_permission`, `not_found`, `name_taken`, `no_space`,
    `no_resources`, `invalid`, `already_booted`, `disk_too_small`, `file_not_found`, `invalid_state`, `fault`.
    """

    code = "refused"


class Unreachable(DriverError):
    """The site does not answer: wait, and tell the operator. Codes: `unreachable`, `timeout`, `session_lost`."""

    code = "unreachable"
