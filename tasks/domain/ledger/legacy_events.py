"""One stored event of rlhf-audit-trail 0.1: what it says, and what its hash is over.

    hash = sha256(json.dumps({event_id, event_type, session_id, timestamp, data},
                             sort_keys=True, separators=(",", ":")))

`hash`, `signature` and `merkle_proof` are stored beside them and lie outside the hash. What is
hashed is first of all the stored text: keys in order, no white space, numbers spelled as they
stand. A file that another tool has saved again may spell numbers otherwise; then they are spelled
as Python does, which nothing but the standard library reproduces.
"""

import json
import re
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from tasks.domain.ledger.hashing import HASH_SIZE
from tasks.domain.ledger.records import RecordError, parse_line

MAX_EVENT_BYTES = 1024 * 1024
MAX_NAME = 512
"""Marks of an event id, event type or session id at most."""
MAX_SECONDS = 1e15

_HASHED = ("data", "event_id", "event_type", "session_id", "timestamp")
_REQUIRED = frozenset({*_HASHED, "hash"})
_ALLOWED = _REQUIRED | {"signature", "merkle_proof"}


class LegacyEvent(NamedTuple):
    """A stored event. `computed` is what its content hashes to, `stored` the hash it carries.

    Hashes are 32 raw bytes; `previous` is None for the first event of a logger; `signature` is None
    without one and empty when it is not hex; `timestamp` in seconds of the epoch. `is_sliced`: the
    hashed bytes are the stored ones; else they were serialised again.
    """

    event_id: str
    session_id: str
    timestamp: float
    computed: bytes
    stored: bytes
    previous: bytes | None
    signature: bytes | None
    is_sliced: bool


def parse_event(stored: bytes) -> tuple[LegacyEvent, dict[str, Any]]:
    """The event and its members, parsed strictly; RecordError when it cannot be one."""
    members = parse_line(stored)
    odd = (_REQUIRED - members.keys()) | (members.keys() - _ALLOWED)
    if odd:
        raise RecordError(
            f"expected an event of {', '.join(sorted(_ALLOWED))},"
            f" found a difference in {', '.join(ascii(key)[:40] for key in sorted(odd)[:5])}"
        )
    names = [members[key] for key in ("event_id", "event_type", "session_id")]
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names):
        raise RecordError("expected event_id, event_type and session_id as short strings")
    data, timestamp = members["data"], members["timestamp"]
    if not isinstance(data, dict):
        raise RecordError(f"expected data as an object, found {type(data).__name__}")
    if type(timestamp) not in (int, float) or not abs(timestamp) < MAX_SECONDS:
        raise RecordError("expected timestamp as seconds of the epoch")
    expected = digest_of(members["hash"])
    event = LegacyEvent(
        event_id=names[0],
        session_id=names[2],
        timestamp=float(timestamp),
        computed=_computed(members, stored, expected),
        stored=expected,
        previous=digest_of(data["_previous_hash"]) if "_previous_hash" in data else None,
        signature=_signature(members.get("signature")),
        is_sliced=False,
    )
    return event, members


def written_form(members: Mapping[str, Any]) -> bytes:
    """As the writer serialises; NaN cannot occur, because the parser refuses it."""
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode("ascii")


def digest_of(text: object) -> bytes:
    """The 32 bytes of a hash; RecordError unless it is 64 hex digits."""
    try:
        raw = unhexlify(text) if isinstance(text, str) else b""
    except (HexError, ValueError) as error:
        raise RecordError(f"expected a hash of 64 hex digits, found {ascii(text)[:80]}") from error
    if len(raw) != HASH_SIZE:
        raise RecordError(f"expected a hash of 64 hex digits, found {ascii(text)[:80]}")
    return raw


def _computed(members: Mapping[str, Any], stored: bytes, expected: bytes) -> bytes:
    """The hash with Python's numbers, unless only the numbers as they are stored give `expected`.

    Both spell the same content. The second is what hashing the stored bytes themselves gives.
    """
    written = written_form({key: members[key] for key in _HASHED})
    computed = sha256(written).digest()
    if computed != expected:
        spelled = sha256(_as_spelled(stored, written)).digest()
        computed = spelled if spelled == expected else computed
    return computed


def _as_spelled(stored: bytes, written: bytes) -> bytes:
    """`written` with every number as it stands in the stored text.

    Numbers travel as strings behind a mark that no string or key of the event contains.
    """
    mark = "number"
    while mark.encode("ascii") in written:
        mark += "_"

    def marked(number: str) -> str:
        return mark + number

    members = json.loads(stored.decode("utf-8"), parse_float=marked, parse_int=marked)
    text = written_form({key: members[key] for key in _HASHED})
    return re.sub(rb'"%b([^"]*)"' % mark.encode("ascii"), rb"\1", text)


def _signature(value: object) -> bytes | None:
    if value is None:
        return None
    try:
        return unhexlify(value) if isinstance(value, str) else b""
    except (HexError, ValueError):
        return b""
