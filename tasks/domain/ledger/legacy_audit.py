"""Judging a whole legacy log: events and chain files in, findings and a verdict out.

`verified` needs all of it: every hash, signature, link and flush is good, and somebody outside
confirms the end. Signatures cover single events and nothing signs how many there are; so without a
manifest or the last event's hash, events cut off at the end, or a whole chain, would not show, and
the verdict says so. Without a key anybody could have computed all hashes anew.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tasks.domain.ledger.findings import MAX_FINDINGS
from tasks.domain.ledger.legacy_chain import (
    COPY,
    CYCLE,
    EventTable,
    Ordered,
    Placed,
    order_events,
)
from tasks.domain.ledger.legacy_events import LegacyEvent
from tasks.domain.ledger.legacy_flushes import Flush, Spot, check_flushes
from tasks.domain.ledger.verdicts import INFORMATIONAL, UNDECIDED, Code, Finding, Status

_ALTERED, _UNSIGNED, _MISNAMED = 1, 2, 4
_WRONG = {
    _ALTERED: (Code.MODIFIED, "its content is not what its hash is over"),
    _UNSIGNED: (Code.BAD_SIGNATURE, "not signed by the log's key, or its signature was taken away"),
    _MISNAMED: (Code.SEQ_MISMATCH, "is stored under another name than its own event id"),
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome: `signed` of `events` carry a good signature; `root` is the last hash, hex."""

    status: Status
    reason: str
    findings: tuple[Finding, ...]
    events: int
    signed: int
    root: str


@dataclass(slots=True)
class LegacyAudit:
    """Takes a log's parts as they are read. `has_key`: signatures are checked by the caller.

    `without_key`: why they are not, else.
    """

    source: str
    has_key: bool
    without_key: str = "no public key was given"
    _events: EventTable = field(default_factory=EventTable)
    _flags: bytearray = field(default_factory=bytearray)
    _computed: dict[int, bytes] = field(default_factory=dict)
    _flushes: list[Flush] = field(default_factory=list)
    _spots: list[Spot] = field(default_factory=list)
    _signed: int = 0
    _good_signatures: int = 0
    _resaved: int = 0

    def add_event(self, event: LegacyEvent, folder: str, name: str, *, is_signed: bool) -> None:
        """One event, from the file `name` (without .json) of session folder `folder`."""
        flag = 0 if event.computed == event.stored else _ALTERED
        if flag and len(self._computed) < MAX_FINDINGS:
            self._computed[len(self._events)] = event.computed
        if self.has_key and not is_signed:
            flag |= _UNSIGNED
        if name != event.event_id:
            flag |= _MISNAMED
        self._good_signatures += is_signed
        self._signed += is_signed and not flag & _ALTERED
        self._resaved += not event.is_sliced and not flag & _ALTERED
        self._flags.append(flag)
        names = event.event_id, event.session_id, folder
        self._events.append(Placed(event.stored, event.previous, *names, event.timestamp))

    def add_flush(self, flush: Flush) -> None:
        """One chain file."""
        self._flushes.append(flush)

    def add(self, code: Code, detail: str, *, count: int = 1) -> None:
        """A finding about a whole file, which `detail` names."""
        self._spots.append(Spot(code, None, count, detail))

    def finish(
        self,
        *,
        heads: frozenset[bytes] = frozenset(),
        is_whole: bool = False,
        has_flushes: bool = True,
    ) -> Judgement:
        """The judgement. `is_whole`: a manifest from outside has confirmed every file.

        `has_flushes`: the source keeps chain files; a table does not.
        """
        unsound = _ALTERED | _UNSIGNED
        ordered = order_events(self._events, lambda at: bool(self._flags[at] & unsound))
        spots = [*self._spots, *self._about_events(ordered), *self._about_links(ordered)]
        if has_flushes:
            spots += check_flushes(self._flushes, self._events, ordered)
        spots += self._about_the_end(ordered, heads, is_whole=is_whole)
        if not self.has_key and self._events:
            detail = f"{self.without_key}: anybody could have computed all hashes anew"
            spots.append(Spot(Code.UNPROVEN, None, len(self._events), detail))
        status = self._status(spots)
        last = ordered.order[ordered.segments[-1].end - 1] if ordered.segments else None
        return Judgement(
            status,
            self._reason(status, spots, len(ordered.segments), is_whole=is_whole),
            _findings(self.source, spots),
            len(self._events),
            self._signed,
            "" if last is None else self._events[last].digest.hex(),
        )

    def _about_events(self, ordered: Ordered) -> list[Spot]:
        """What is wrong with single events, neighbours in the chain told as one."""
        spots: list[Spot] = []
        for bit, (code, detail) in _WRONG.items():
            for place, at in enumerate(ordered.order):
                if not self._flags[at] & bit:
                    continue
                run = spots[-1] if spots else None
                if run is not None and run.code == code and _end(run) == place:
                    spots[-1] = run._replace(number=run.number + 1, expected="", found="")
                    continue
                event, expected, found = self._events[at], "", ""
                if bit == _ALTERED:
                    expected = event.digest.hex()
                    found = self._computed.get(at, b"").hex()
                spots.append(Spot(code, place, 1, f"{_named(event)} {detail}", expected, found))
        return spots

    def _about_links(self, ordered: Ordered) -> list[Spot]:
        spots = []
        for segment in ordered.segments:
            if segment.missing is not None:
                event = self._events[ordered.order[segment.first]]
                detail = f"no event has the hash that {_named(event)} names before it: deleted, or"
                detail += " altered and hashed anew"
                missing = segment.missing.hex()
                spots.append(Spot(Code.DELETED, segment.first, 1, detail, missing))
        copies = set()
        for side in ordered.sides:
            event = self._events[ordered.order[side.first]]
            code = Code.CHAIN_BREAK if side.kind == CYCLE else Code.INSERTED
            detail = f"{_named(event)} {side.kind}"
            spots.append(Spot(code, side.first, side.end - side.first, detail))
            if side.kind == COPY:
                copies.add(side.first)
        seen: set[str] = set()
        for place, at in enumerate(ordered.order):
            event = self._events[at]
            if event.event_id in seen and place not in copies:
                detail = f"{_named(event)} has the event id of another event"
                spots.append(Spot(Code.INSERTED, place, 1, detail))
            seen.add(event.event_id)
        return spots

    def _about_the_end(
        self, ordered: Ordered, heads: frozenset[bytes], *, is_whole: bool
    ) -> list[Spot]:
        """What nothing outside confirms: the end of each chain, and that there were no others."""
        spots = []
        places: dict[bytes, int] = {}
        if heads:
            ends = ordered.segments[-1].end if ordered.segments else 0
            chained = ordered.order[:ends]
            places = {self._events[at].digest: place for place, at in enumerate(chained)}
        for head in sorted(heads - places.keys()):
            detail = "the event that was expected as a last one is not there"
            spots.append(Spot(Code.TRUNCATED, None, 1, detail, head.hex()))
        known = sorted(places[head] for head in heads if head in places)
        for segment in ordered.segments:
            last = max((at for at in known if segment.first <= at < segment.end), default=None)
            first = segment.first if last is None else last + 1
            if is_whole or first == segment.end:
                continue
            detail = "nothing outside confirms where the chain ends: events cut off would not show"
            spots.append(Spot(Code.UNPROVEN, first, segment.end - first, detail))
        return spots

    def _status(self, spots: Iterable[Spot]) -> Status:
        codes = {spot.code for spot in spots}
        if codes - INFORMATIONAL - UNDECIDED:
            return Status.TAMPERED
        if Code.BAD_SIGNATURE in codes and self._good_signatures:
            return Status.TAMPERED  # the key is the log's, and yet it has not signed all of it
        if codes & UNDECIDED or not self._events:
            return Status.UNVERIFIABLE
        return Status.VERIFIED

    def _reason(self, status: Status, spots: list[Spot], chains: int, *, is_whole: bool) -> str:
        events = len(self._events)
        if not events:
            return "there is no event to verify"
        altered = sum(1 for flag in self._flags if flag & _ALTERED)
        reason = f"{events - altered} of {events} events are intact"
        if self.has_key:
            reason += f", {self._signed} of them signed by the given key"
        if self._resaved:
            reason += f"; {self._resaved} were not in the writer's own form and serialised again"
        if status is Status.TAMPERED:
            found = Counter[Code]()
            for spot in spots:
                found[spot.code] += spot.number
            text = ", ".join(f"{code} {count}" for code, count in sorted(found.items()))
            return f"{reason}; found {text}"
        if status is Status.UNVERIFIABLE:
            return reason + self._what_is_unproven(spots)
        if is_whole:
            return f"{reason}; a manifest confirms every file"
        reason += f"; the end of every chain ({chains}) is confirmed from outside; a chain of which"
        return f"{reason} nobody kept the last hash would not be missed"

    def _what_is_unproven(self, spots: Iterable[Spot]) -> str:
        unproven: dict[str, int] = {}
        for spot in spots:
            if spot.code is Code.UNPROVEN:
                unproven[spot.detail] = unproven.get(spot.detail, 0) + spot.number
        text = ""
        if self.has_key and not self._good_signatures:
            text = "; not one signature is: another key, or all events were replaced"
        for detail, count in sorted(unproven.items()):
            text += f"; not proven for {count} events: {detail}"
        return text


def _end(spot: Spot) -> int | None:
    return None if spot.first is None else spot.first + spot.number


def _named(event: Placed) -> str:
    """An event for people; both names come from files that anybody may have written."""
    return f"{_shown(event.folder)}: event {_shown(event.event_id)}"


def _shown(text: str) -> str:
    return ascii(text)[1:-1][:100]


def _findings(source: str, spots: list[Spot]) -> tuple[Finding, ...]:
    """In chain order, whole artefacts last; beyond the limit one for each code."""
    spots = sorted(spots, key=lambda spot: (spot.first is None, spot.first or 0, spot.code))
    kept = [
        Finding(spot.code, source, spot.first, spot.number, spot.detail[:500], *spot[4:])
        for spot in spots[:MAX_FINDINGS]
    ]
    beyond = Counter[Code]()
    for spot in spots[MAX_FINDINGS:]:
        beyond[spot.code] += spot.number
    detail = "further ones, not listed one by one"
    kept += [Finding(code, source, None, count, detail) for code, count in sorted(beyond.items())]
    return tuple(kept)
