"""What others keep of a legacy log: a `sha256sum` manifest of its files, and its last hashes."""

import re
from collections.abc import Iterator

from tasks.domain.errors import BadInput
from tasks.domain.ledger.legacy_events import digest_of
from tasks.domain.ledger.records import RecordError

MAX_MANIFEST_BYTES = 512 * 1024 * 1024
MAX_MANIFEST_LINES = 1_000_000
MAX_HEADS = 1000

_LINE = re.compile(rb"([0-9a-f]{64}) [ *]([!-~](?:[ -~]*[!-~])?)")
_MAX_LINE = 64 + 2 + 1024
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_PATH = re.compile(
    rf"(?:.*/)?(?P<session>{_NAME})/(?P<kind>events|chains)/(?P<name>{_NAME})\.json", re.ASCII
)


class ManifestError(BadInput):
    """The text is no manifest; the message names the line."""


def parse_manifest(text: bytes) -> dict[str, str]:
    """SHA-256 (hex) by path, of the lines that are about events and chain files of a log.

    Lines are `sha256sum`'s: `<hex>  <path>` or `<hex> *<path>`. A path may be relative or absolute,
    since where the log was when the manifest was made is not where it is now.
    """
    if len(text) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"expected at most {MAX_MANIFEST_BYTES} bytes, found {len(text)}")
    found: dict[str, str] = {}
    for number, line in _lines(text):
        match = _LINE.fullmatch(line) if len(line) <= _MAX_LINE else None
        if match is None:
            raise ManifestError(f"line {number}: expected `<sha256>  <path>` as sha256sum writes")
        path = log_path(match[2].decode("ascii"))
        if path is None:
            continue
        if found.setdefault(path, match[1].decode("ascii")) != match[1].decode("ascii"):
            raise ManifestError(f"line {number}: {path} is listed twice, with two hashes")
    if not found:
        raise ManifestError("expected lines about <session>/events/ or <session>/chains/, has none")
    return found


def log_path(path: str) -> str | None:
    """`<session>/events/<name>.json` or `.../chains/...` of a path; None when it is another file.

    Names have the marks of identifiers, as loggers give them, and no others.

    What stands before the session (`audit_logs/`, a mount point) is left out.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    return f"{match['session']}/{match['kind']}/{match['name']}.json"


def parse_heads(text: str) -> frozenset[bytes]:
    """The hashes of last events that somebody kept: 64 hex digits each, separated by commas."""
    parts = [part.strip() for part in text.split(",", MAX_HEADS)]
    if len(parts) > MAX_HEADS:
        raise BadInput(f"expected at most {MAX_HEADS} hashes of last events")
    try:
        return frozenset(digest_of(part) for part in parts)
    except RecordError as error:
        raise BadInput(f"the expected last event: {error}") from error


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    lines = text.removesuffix(b"\n").split(b"\n")
    if len(lines) > MAX_MANIFEST_LINES:
        raise ManifestError(f"expected at most {MAX_MANIFEST_LINES} lines, found {len(lines)}")
    return enumerate(lines, start=1)
