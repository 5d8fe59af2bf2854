"""Errors of the systems we talk to, translated from vendor SDKs.

Why our own: tasks decide on "try again", "ask for a permission" and "it is not there"; they must
not depend on which HTTP or SDK library said so, nor break when it is replaced.

    ClientError
    |-- Transient       time-out, refused connection, 5xx: reading again may succeed
    |   `-- Throttled   too many calls: the same, after the seconds that the other side names
    |-- Denied          401/403, wrong password, missing grant: names what is missing
    |-- NotFound        the named thing does not exist
    |-- Conflict        it changed under us, or exists already with other content
    `-- Malformed       the other side answered something that is not what it documents
"""

from tasks.domain.errors import RunbookError


class ClientError(RunbookError):
    """Base of every error of a system under care or of our own infrastructure."""


class Transient(ClientError):
    """Reading again may succeed; a change must first look at the state."""


class Throttled(Transient):
    """We have asked too often; `seconds` is how long to wait, 0 when nobody says."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class Denied(ClientError):
    """The credentials are wrong or lack a permission, which the message names."""


class NotFound(ClientError):
    """The named object, table or run does not exist."""


class Conflict(ClientError):
    """The object exists with other content, or changed since it was read."""


class Malformed(ClientError):
    """The answer is not what the interface documents; bounded excerpt in the message."""
