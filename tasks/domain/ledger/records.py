"""Record lines: canonical JSON, strict parsing, the chain from line to line, tombstones.

A sealed line is an object whose first key is `_prev`, the chain link of the line before in 64 hex
digits. What is hashed is the stored line; a line is never rendered again to verify it. Parsing is
for what the hashes cannot say: the unsigned tail, and why a damaged line is damaged.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.ledger.hashing import HASH_SIZE

GENESIS_PREV = "0" * 64
"""`_prev` of the first record."""

MAX_LINE_BYTES = 1024 * 1024
MAX_DEPTH = 64
LOST_EVENT = "record_lost"

_PREV_START = b'{"_prev":"'
_PREV_FROM = len(_PREV_START)
_PREV_TO = _PREV_FROM + 64
_HEX64 = re.compile(r"[0-9a-f]{64}")
_NESTING = (dict, list, tuple)
_LOST_MARK = b'"event_type":"record_lost"'


class RecordError(BadInput):
    """A line is not a record: not JSON, ambiguous, too large or too deep."""


def canonical_line(event: Mapping[str, Any]) -> bytes:
    """The one way to write a record: ASCII JSON, sorted keys, no spaces, no newline.

    Raises RecordError for what `parse_line` would refuse to read back: NaN, infinities, values
    that JSON lacks, lines over 1 MiB, nesting over 64.
    """
    try:
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"the record cannot be written as JSON: {error}") from error
    line = text.encode("ascii")
    _check_size(line)
    _check_depth(line, event)
    return line


def parse_line(line: bytes) -> dict[str, Any]:
    """The record of one stored line; RecordError when parsers could disagree about it.

    Refused: invalid UTF-8, duplicate keys, NaN and infinities (also `1e999`), integers of
    thousands of digits, anything that is not an object, over 1 MiB, nested deeper than 64.
    """
    _check_size(line)
    try:
        event = json.loads(
            line.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecordError:
        raise
    except RecursionError as error:
        raise RecordError(f"the record is nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:
        raise RecordError(f"the record is not JSON: {str(error)[:200]}") from error
    if not isinstance(event, dict):
        raise RecordError(f"expected a JSON object, found {type(event).__name__}")
    _check_depth(line, event)
    return event


def stored_prev(line: bytes) -> bytes | None:
    """`_prev` as its 64 bytes at their fixed place; None when the line does not begin that way.

    Exact for lines that `parse_line` accepts, because it refuses a second `_prev`.
    """
    if line[:_PREV_FROM] != _PREV_START or line[_PREV_TO : _PREV_TO + 1] != b'"':
        return None
    return line[_PREV_FROM:_PREV_TO]


def is_tombstone(line: bytes) -> bool:
    """Whether the line declares the record of its place lost."""
    if _LOST_MARK not in line:
        return False
    try:
        return parse_line(line).get("event_type") == LOST_EVENT
    except RecordError:
        return False


def tombstone_line(
    seq: int,
    prev: str,
    lost_leaf: bytes | None,
    incident: str,
    at: datetime,
    *,
    origin: str = "runbook",
) -> bytes:
    """The line that recovery writes for a `seq` whose record is lost.

    `prev` is the chain link of the line before (hex); `lost_leaf` the lost record's leaf hash
    where it is known (from the signed tiles, or from the `_prev` of the record after).
    """
    if lost_leaf is not None and len(lost_leaf) != HASH_SIZE:
        raise RecordError(f"expected a leaf hash of {HASH_SIZE} bytes, found {len(lost_leaf)}")
    if not _HEX64.fullmatch(prev):
        raise RecordError("expected a chain link of 64 hex digits")
    return canonical_line(
        {
            "_prev": prev,
            "data": {"incident": incident, "lost_leaf": lost_leaf.hex() if lost_leaf else ""},
            "event_id": f"record-lost-{seq}",
            "event_type": LOST_EVENT,
            "origin": origin,
            "seq": seq,
            "session_id": "recovery",
            "timestamp": at.astimezone(UTC).isoformat(),
        }
    )


def lost_leaf(line: bytes) -> bytes | None:
    """The leaf hash of the record that a tombstone replaces; None when unknown or no tombstone."""
    if not is_tombstone(line):
        return None
    data = parse_line(line).get("data")
    known = data.get("lost_leaf") if isinstance(data, dict) else None
    if not isinstance(known, str) or not _HEX64.fullmatch(known):
        return None
    return bytes.fromhex(known)


def chain_link(line: bytes, leaf: bytes) -> str:
    """The `_prev` (hex) of the record after `line`, whose leaf hash is `leaf`.

    It is the leaf itself, except after a tombstone that knows the lost record's leaf: then that
    leaf, because the records after the gap were written before the loss.
    """
    return (lost_leaf(line) or leaf).hex()


def links_after(line: bytes, leaf: bytes) -> frozenset[bytes]:
    """Every `_prev` (64 hex bytes) that a record after `line` may rightly carry.

    After a tombstone there are two: the lost record's leaf, in records written before the loss,
    and the tombstone's own, in records written after the recovery. Both commit to the past.
    """
    return frozenset({leaf.hex().encode(), chain_link(line, leaf).encode()})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RecordError("the record has a duplicate key")
    return found


def _refuse_constant(name: str) -> float:
    raise RecordError(f"the record holds {name}, which is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise RecordError(f"the number {text[:40]} is beyond a double")
    return value


def _check_size(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise RecordError(f"expected at most {MAX_LINE_BYTES} bytes a line, found {len(line)}")


def _check_depth(line: bytes, event: Mapping[str, Any]) -> None:
    if line.count(b"{") + line.count(b"[") <= MAX_DEPTH:
        return  # no deeper than it has brackets: the walk below costs more than parsing
    level: list[Any] = [event]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += [value for value in each.values() if isinstance(value, _NESTING)]
            else:
                inner += [value for value in each if isinstance(value, _NESTING)]
        if not inner:
            return
        level = inner
    raise RecordError(f"the record is nested deeper than {MAX_DEPTH}")
