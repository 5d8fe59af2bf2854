"""Exit codes of the command."""

GOOD = 0
"""Done, and the answer is good."""

BAD = 1
"""Done, and the answer is bad: tampered, or a proof that does not hold."""

COULD_NOT_TELL = 2
"""Bad input, unreachable, or refused: nothing was decided."""
