"""What the command's verbs print and write, to a terminal, a pipe or a file."""

import json
import sys
from pathlib import Path

from rich.console import Console

from tasks.domain.errors import BadInput

_PIPE_WIDTH = 160
"""Columns when nobody is watching: rich's own 80 would cut the ids that a program looks for."""


def console() -> Console:
    """The console of standard output: as wide as the terminal, or 160 columns into a pipe."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def write_json(file: Path | None, value: object) -> None:
    """Write what `--json` asks for; nothing without a file. Raises BadInput when it cannot be."""
    if file is None:
        return
    try:
        file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"expected to write {file}, found: {error.strerror}") from error
