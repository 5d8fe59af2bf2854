"""The chain of custody of a piece of evidence: who did what to it, when, where and why.

One JSON line an entry, each bound to the one before: `entry_hash` is SHA-256 over the canonical
JSON (RFC 8785) of the entry without it, and `prev_hash` is the entry_hash before. Editing, deleting
in the middle and reordering break the chain by themselves. Cutting off the end does not, so the
head is anchored elsewhere (the journal), and without that anchor a log is at best consistent.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import rfc8785

from tasks.domain.errors import BadInput

NO_HASH = "0" * 64
"""`prev_hash` of the first entry."""

LINE_LIMIT = 64 * 1024
"""Bytes of one entry."""


class Action(StrEnum):
    """What was done to the evidence."""

    DISCOVERED = "discovered"
    COLLECTED = "collected"
    HASHED = "hashed"
    STORED = "stored"
    ACCESSED = "accessed"
    EXAMINED = "examined"
    TRANSFERRED = "transferred"
    RELEASED = "released"
    DISPOSED = "disposed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a person or a program by its id, in which role, and for whom."""

    id: str
    role: str
    on_behalf_of: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """One act on one item. `at` has an offset; `sha256` and `size` are of the item's plain bytes.

    `lock`: the object store's retention or the seal. `approval`: the hash of the plan that a
    person approved, where one was needed.
    """

    event_id: str
    item_id: str
    action: Action
    at: datetime
    actor: Actor
    tool: str
    version: str
    reason: str
    sha256: str = ""
    size: int | None = None
    came_from: str = ""
    went_to: str = ""
    arguments: tuple[str, ...] = ()
    lock: str = ""
    approval: str = ""
    remarks: str = ""


@dataclass(frozen=True, slots=True)
class CustodyHead:
    """Where a custody log ends: what is anchored elsewhere."""

    entries: int = 0
    hash: str = NO_HASH
    at: datetime | None = None


class Custody(StrEnum):
    """What a custody log has proven to be. `CONSISTENT`: its end may be missing unnoticed."""

    COMPLETE = "complete"
    CONSISTENT = "consistent, its end not anchored"
    TRUNCATED = "truncated"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class CustodyVerdict:
    """The verdict, the head that was reached, and where and why it broke."""

    custody: Custody
    head: CustodyHead = field(default_factory=CustodyHead)
    reason: str = ""


def entry_line(head: CustodyHead, act: Act) -> tuple[bytes, CustodyHead]:
    """The next entry of a log as a line with its newline, and the new head.

    A clock that was set back must not let an act stand before the one that it followed: then the
    entry keeps the later time and says so. Raises BadInput for a time without offset and for an
    entry that is too long or no JSON.
    """
    if act.at.tzinfo is None:
        raise BadInput("expected the time of an act with its offset, found none")
    at, remarks = act.at.astimezone(UTC), act.remarks
    if head.at is not None and at < head.at:
        remarks = f"{remarks}; the clock said {at.isoformat()}".lstrip("; ")
        at = head.at
    entry = {
        "seq": head.entries,
        "prev_hash": head.hash,
        "event_id": act.event_id,
        "item_id": act.item_id,
        "action": act.action.value,
        "at_utc": at.isoformat(),
        "actor": {
            "id": act.actor.id,
            "role": act.actor.role,
            "on_behalf_of": act.actor.on_behalf_of,
        },
        "location_from": act.came_from,
        "location_to": act.went_to,
        "method": {"tool": act.tool, "version": act.version, "argv": list(act.arguments)},
        "sha256": act.sha256,
        "size": act.size,
        "seal_or_object_lock_id": act.lock,
        "reason": act.reason,
        "approval_ref": act.approval,
        "remarks": remarks,
    }
    digest = _digest(entry)
    line = _canonical({**entry, "entry_hash": digest}) + b"\n"
    if len(line) > LINE_LIMIT:
        raise BadInput(f"expected an entry of at most {LINE_LIMIT} bytes, found {len(line)}")
    return line, CustodyHead(head.entries + 1, digest, at)


def verify_custody(lines: Iterable[bytes], anchored: Sequence[CustodyHead] = ()) -> CustodyVerdict:
    """Check every entry of a log. `anchored`: heads that were kept elsewhere (number and hash).

    A log that goes on after the last anchored head is consistent; one that ends before it is
    truncated; one that has another entry at an anchored place is broken.
    """
    anchors = {each.entries: each.hash for each in anchored}
    head = CustodyHead()
    for line in lines:
        try:
            head = _follow(head, line)
        except BadInput as error:
            return CustodyVerdict(Custody.BROKEN, head, f"entry {head.entries}: {error}")
        wanted = anchors.get(head.entries, head.hash)
        if wanted != head.hash:
            why = f"expected the anchored hash {wanted[:16]}, found {head.hash[:16]}"
            return CustodyVerdict(Custody.BROKEN, head, f"entry {head.entries - 1}: {why}")
    last = max(anchors, default=0)
    if head.entries < last:
        why = f"expected at least {last} entries as anchored, found {head.entries}"
        return CustodyVerdict(Custody.TRUNCATED, head, why)
    ends_anchored = head.entries in anchors
    return CustodyVerdict(Custody.COMPLETE if ends_anchored else Custody.CONSISTENT, head)


def _follow(head: CustodyHead, line: bytes) -> CustodyHead:
    """The head after one more line. Raises BadInput with what is wrong with it."""
    entry = _parsed(line)
    claimed = entry.pop("entry_hash", None)
    found = {
        "its seq": (entry.get("seq"), head.entries),
        "its prev_hash": (entry.get("prev_hash"), head.hash),
        "its entry_hash": (claimed, _digest(entry)),
    }
    for what, (is_there, wanted) in found.items():
        if is_there != wanted or isinstance(is_there, bool):
            raise BadInput(f"expected {what} {str(wanted)[:16]}, found {str(is_there)[:16]!a}")
    if entry.get("action") not in [*Action]:
        raise BadInput(f"expected an action, found {str(entry.get('action'))[:40]!a}")
    return CustodyHead(head.entries + 1, str(claimed), _later(head, entry))


def _later(head: CustodyHead, entry: Mapping[str, Any]) -> datetime:
    try:
        at = datetime.fromisoformat(str(entry.get("at_utc")))
    except ValueError as error:
        raise BadInput("expected at_utc as an ISO 8601 instant, found something else") from error
    if at.tzinfo is None:
        raise BadInput("expected at_utc with its offset, found none")
    if head.at is not None and at < head.at:
        raise BadInput(f"expected no time before {head.at.isoformat()}, found {at.isoformat()}")
    return at


def _parsed(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_LIMIT:
        raise BadInput(f"expected at most {LINE_LIMIT} bytes, found more")
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput("expected a line of JSON, found something else") from error
    if not isinstance(entry, dict):
        raise BadInput("expected a JSON object, found something else")
    if _canonical(entry) + b"\n" != line:
        raise BadInput("expected canonical JSON, found another spelling of the same")
    return entry


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(entry)).hexdigest()


def _canonical(entry: Mapping[str, Any]) -> bytes:
    try:
        return rfc8785.dumps(dict(entry))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise BadInput(f"expected an entry that is JSON, found {type(error).__name__}") from error
