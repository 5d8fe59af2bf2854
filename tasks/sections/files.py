"""Small files that settings name, read with bounds."""

from pathlib import Path

from tasks.domain.errors import BadInput


def read_text(path: Path, limit: int) -> str:
    """A small text file that a person wrote; BadInput when it is no such file."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"expected text in {path.name}, found bytes that are not UTF-8") from error


def read_bytes(path: Path, limit: int) -> bytes:
    """A small file that a person names; BadInput when it is none, or larger than `limit` bytes."""
    try:
        if not path.is_file():
            raise BadInput(f"expected a file, found none at {str(path)[:200]!r}")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BadInput(f"cannot read {str(path)[:200]!r}: {error.strerror}") from error
    if len(data) > limit:
        raise BadInput(f"expected at most {limit} bytes in {path.name}, found more")
    return data
