"""Why the lab cannot start, or a part of it died."""

from tasks.domain.errors import RunbookError


class LabError(RunbookError):
    """A part of the embedded stack is missing, did not start, or is not where it must be."""
