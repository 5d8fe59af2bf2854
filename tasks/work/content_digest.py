"""What a backup's bytes are known by when nobody has signed a digest of them."""

from hashlib import sha256
from pathlib import Path

_CHUNK = 1024 * 1024


def content_digest(path: Path) -> str:
    """SHA-256 (hex) of a file, or of the lines "digest  name" of a directory's files."""
    if path.is_dir():
        lines = (f"{content_digest(each)}  {each.name}\n" for each in sorted(path.iterdir()))
        return sha256("".join(lines).encode()).hexdigest()
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
