"""Chain files: what the legacy logger wrote beside each flush of its events, and nobody signed.

    chains/chain_<ms>.json: session_id, event_count, chain_hash, merkle_root, timestamp,
                            event_range {start, end}: timestamps of the first and last event

A flush is consecutive events of one logger's chain, stored in the folder of the session that the
logger was in, which need not be the events' own. `chain_hash` is SHA-256 over the hashes in hex,
one after another. The Merkle root doubles a last node without neighbour, so [a, b, c] and
[a, b, c, c] have one root: the count tells them apart. Whoever may write the files can rewrite
these too; they show what is cut off only when they were left as they are.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from tasks.domain.ledger.legacy_chain import Ordered, Placed
from tasks.domain.ledger.legacy_events import MAX_SECONDS, digest_of
from tasks.domain.ledger.records import RecordError, parse_line
from tasks.domain.ledger.verdicts import Code

MAX_FLUSH_BYTES = 64 * 1024
MAX_FLUSH_EVENTS = 1_000_000

_MEMBERS = {
    "session_id", "event_count", "chain_hash", "merkle_root", "timestamp", "event_range",
}  # fmt: skip
_TRIES_PER_EVENT = 20


class Flush(NamedTuple):
    """One chain file. Hashes are 32 bytes, times seconds of the epoch."""

    path: str
    folder: str
    session_id: str
    events: int
    chain_hash: bytes
    merkle_root: bytes
    start: float
    end: float


class Spot(NamedTuple):
    """A finding in the making: `first` is a position in chain order, or None."""

    code: Code
    first: int | None
    number: int
    detail: str
    expected: str = ""
    found: str = ""


def parse_flush(stored: bytes, path: str, folder: str) -> Flush:
    """Read a chain file; RecordError when it is none."""
    if len(stored) > MAX_FLUSH_BYTES:
        raise RecordError(f"expected at most {MAX_FLUSH_BYTES} bytes, found {len(stored)}")
    members = parse_line(stored)
    spans = members.get("event_range")
    if (
        members.keys() != _MEMBERS
        or not isinstance(spans, dict)
        or spans.keys() != {"start", "end"}
    ):
        raise RecordError(f"expected a chain file of {', '.join(sorted(_MEMBERS))}")
    count, session = members["event_count"], members["session_id"]
    if type(count) is not int or not 1 <= count <= MAX_FLUSH_EVENTS:
        raise RecordError(f"expected 1 to {MAX_FLUSH_EVENTS} events, found {ascii(count)[:40]}")
    if not isinstance(session, str):
        raise RecordError("expected session_id as a string")
    return Flush(
        path,
        folder,
        session,
        count,
        digest_of(members["chain_hash"]),
        digest_of(members["merkle_root"]),
        _time(spans["start"]),
        _time(spans["end"]),
    )


def chain_hash(digests: Sequence[bytes]) -> bytes:
    """SHA-256 over the hashes in hex, one after another."""
    return sha256(b"".join(digests).hex().encode("ascii")).digest()


def merkle_root(digests: Sequence[bytes]) -> bytes:
    """The legacy tree's root: parents hash two children in hex, the last is doubled."""
    level = list(digests)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [sha256((left + right).hex().encode("ascii")).digest() for left, right in pairs]
    return level[0]


def check_flushes(
    flushes: Sequence[Flush], events: Sequence[Placed], ordered: Ordered
) -> list[Spot]:
    """Findings about chain files, about events that none covers, and events in a wrong folder."""
    return _Cover(flushes, events, ordered).run()


def _time(value: Any) -> float:  # noqa: ANN401 - JSON
    if type(value) not in (int, float) or not abs(value) < MAX_SECONDS:
        raise RecordError("expected start and end as seconds of the epoch")
    return float(value)


class _Cover:
    """Finds each flush in the chains, then judges what is left over on both sides."""

    def __init__(
        self, flushes: Sequence[Flush], events: Sequence[Placed], ordered: Ordered
    ) -> None:
        self._events = events
        self._ordered = ordered
        self._covered = bytearray(len(ordered.order))
        self._spots: list[Spot] = []
        self._left: dict[tuple[bytes, int], Flush] = {}
        self._counts: dict[float, set[int]] = {}
        self._budget = _TRIES_PER_EVENT * len(events)
        for flush in flushes:
            if self._left.setdefault((flush.chain_hash, flush.events), flush) is not flush:
                detail = f"{flush.path} is a second chain file for the same events"
                self._spots.append(Spot(Code.INSERTED, None, 1, detail))
            self._counts.setdefault(flush.start, set()).add(flush.events)

    def run(self) -> list[Spot]:
        for segment in self._ordered.segments:
            at = segment.first
            while at < segment.end:
                flush = self._flush_at(at, segment.end)
                if flush is not None:
                    self._check(flush, at)
                at += flush.events if flush is not None else 1
        uncovered = self._uncovered_runs()
        explained = self._judge_left_over()
        for first, end, segment_end in uncovered:
            self._judge_uncovered(first, end, segment_end, explained)
        return self._spots

    def _flush_at(self, at: int, end: int) -> Flush | None:
        """The flush that begins with this event; tries are bounded against hostile files."""
        for count in sorted(self._counts.get(self._event(at).timestamp, ())):
            if at + count > end or self._budget < 0:
                break
            digests = [event.digest for event in self._run(at, at + count)]
            flush = self._left.pop((chain_hash(digests), count), None)
            if flush is not None:
                return flush
            self._budget -= count
        return None

    def _check(self, flush: Flush, at: int) -> None:
        events = self._run(at, at + flush.events)
        self._covered[at : at + flush.events] = b"\1" * flush.events
        root = merkle_root([event.digest for event in events])
        is_right = (
            root == flush.merkle_root
            and flush.session_id == flush.folder
            and (flush.start, flush.end) == (events[0].timestamp, events[-1].timestamp)
        )
        if not is_right:
            detail = f"{flush.path} was altered: session, range or Merkle root is not its events'"
            expected, found = flush.merkle_root.hex(), root.hex()
            self._spots.append(Spot(Code.SEGMENT_DIGEST, at, flush.events, detail, expected, found))
        for place, event in enumerate(events, start=at):
            if event.folder != flush.folder:
                detail = f"event {event.event_id} is in {event.folder}, its flush in {flush.folder}"
                self._spots.append(Spot(Code.SEQ_MISMATCH, place, 1, detail))

    def _uncovered_runs(self) -> list[tuple[int, int, int]]:
        """(first, end, end of the segment) of events in chains that no flush covers."""
        runs = []
        for segment in self._ordered.segments:
            first = self._covered.find(0, segment.first, segment.end)
            while first >= 0:
                end = self._covered.find(1, first, segment.end)
                end = segment.end if end < 0 else end
                runs.append((first, end, segment.end))
                first = self._covered.find(0, end, segment.end)
        return runs

    def _judge_left_over(self) -> set[tuple[str, float]]:
        """Judge flushes that no events give; what (folder, time) of events they speak of."""
        here: dict[tuple[str, float], tuple[int, int]] = {}
        for first, end, _ in self._uncovered_runs() if self._left else ():
            for at in range(first, end):
                event = self._event(at)
                here.setdefault((event.folder, event.timestamp), (at, end))
        explained: set[tuple[str, float]] = set()
        for flush in self._left.values():
            begins, ends = (flush.folder, flush.start), (flush.folder, flush.end)
            explained |= {begins, ends}
            place, run_end = here.get(begins) or (None, None)
            present = 0 if place is None or run_end is None else run_end - place
            if ends not in here or (begins == ends and present < flush.events):
                self._spots.append(self._cut_off(flush, run_end, max(1, flush.events - present)))
                continue
            detail = f"{flush.path}: its {flush.events} events are not those that are here"
            place = here[ends][0] if place is None else place
            self._spots.append(Spot(Code.SEGMENT_DIGEST, place, 1, detail, flush.chain_hash.hex()))
        return explained

    def _cut_off(self, flush: Flush, place: int | None, missing: int) -> Spot:
        """The end of a flush is not here: of the log too, unless later events still name it."""
        is_gap = any(segment.missing is not None for segment in self._ordered.segments)
        code = Code.DELETED if is_gap else Code.TRUNCATED
        detail = f"{flush.path} names {flush.events} events, the last {missing} are missing"
        return Spot(code, place, missing, detail)

    def _judge_uncovered(
        self, first: int, end: int, segment_end: int, explained: set[tuple[str, float]]
    ) -> None:
        is_explained = False
        for place in range(first, end):
            event = self._event(place)
            is_explained |= (event.folder, event.timestamp) in explained
            if event.folder != event.session_id and not self._has_neighbour(place):
                detail = f"event {event.event_id} of {event.session_id} is in {event.folder}"
                self._spots.append(Spot(Code.SEQ_MISMATCH, place, 1, detail))
        if is_explained:
            return
        code, detail = Code.SOURCE_MISSING, "no chain file for these events, but for later ones"
        if end == segment_end:
            code = Code.UNPROVEN
            detail = "no chain file for these events: it is gone, or the writer was stopped"
        self._spots.append(Spot(code, first, end - first, detail))

    def _has_neighbour(self, place: int) -> bool:
        """Whether the event before or after it in the chain is in the same folder."""
        folder = self._event(place).folder
        near = (at for at in (place - 1, place + 1) if 0 <= at < len(self._covered))
        return any(self._event(at).folder == folder for at in near)

    def _event(self, place: int) -> Placed:
        return self._events[self._ordered.order[place]]

    def _run(self, first: int, end: int) -> list[Placed]:
        return [self._events[at] for at in self._ordered.order[first:end]]
