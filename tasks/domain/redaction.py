"""What looks like a secret, and what is known as one, taken out of a text.

Two nets: known values, and the shapes of credentials (bearer tokens, passwords in URLs, private
keys, chat tokens), which come from the systems under care too.
"""

import re
from collections.abc import Iterable

import re2

REDACTED = "[redacted]"

_SHORTEST = 6  # a shorter secret would blank half of every line, and is none
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
# Linear in the text, which may be a stranger's. No bounded repetitions: each would be spelt out,
# and a program of that size falls back to a matcher that is ten times as slow.
_SHAPES = re2.compile(
    r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|([a-z][a-z0-9+.-]+://[^\s:/@]+:)[^\s@]+(@)"
    r"|(\b(?:password|passwd|secret|token|api[_-]?key)\b[\"']?\s*[=:]\s*)"
    r"(?:\"[^\"]+\"|'[^']+'|[^\s,;&\"']+)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
    r"|PRIVATE\+KEY\+[^\s\"']+"
    r"|\bxox[a-z]-[A-Za-z0-9-]{6,}"
    r"|\bAKIA[A-Z0-9]{16}\b",
    _OPTIONS,
)


class Redactor:
    """Removes these secrets, and what looks like one, from text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a secret that contains another must not leave its rest behind.
        known = sorted({each for each in secrets if len(each) >= _SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        try:
            return str(_SHAPES.sub(_keep_the_name, text))
        except UnicodeEncodeError:  # half a character, which re2 cannot read and no file can hold
            whole = text.encode(errors="replace").decode()
            return str(_SHAPES.sub(_keep_the_name, whole))


def _keep_the_name(found: re.Match[str]) -> str:
    scheme, user, at, word = found.groups()
    return f"{scheme or user or word or ''}{REDACTED}{at or ''}"
