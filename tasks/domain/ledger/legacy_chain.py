"""The order of legacy events, by their links alone, and what the links give away.

Time orders nothing: equal timestamps occur and clocks go back. Within a chain the links decide; a
logger that starts again begins a new chain, and no link says which came first, so whole chains are
listed by the time of their first event, for people, and no finding depends on that. All work and
memory is linear in the number of events.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from tasks.domain.ledger.hashing import HASH_SIZE


class Placed(NamedTuple):
    """What is kept of an event. `digest` is the hash that it carries, 32 bytes.

    `previous` is None for a logger's first event; `folder` is the session whose folder it is in.
    """

    digest: bytes
    previous: bytes | None
    event_id: str
    session_id: str
    folder: str
    timestamp: float


class EventTable(Sequence[Placed]):
    """Many events in some 200 bytes each: columns, of which an event is made when it is asked for.

    Session and folder names are few, and each is kept once.
    """

    def __init__(self) -> None:
        self._digests, self._links = bytearray(), bytearray()
        self._is_linked = bytearray()
        self._times = array("d")
        self._ids: list[str] = []
        self._sessions: list[str] = []
        self._folders: list[str] = []
        self._names: dict[str, str] = {}

    def append(self, event: Placed) -> None:
        """Add one event at the end."""
        self._digests += event.digest
        self._links += event.previous or bytes(HASH_SIZE)
        self._is_linked.append(event.previous is not None)
        self._times.append(event.timestamp)
        self._ids.append(event.event_id)
        self._sessions.append(self._names.setdefault(event.session_id, event.session_id))
        self._folders.append(self._names.setdefault(event.folder, event.folder))

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, at: int) -> Placed: ...

    @overload
    def __getitem__(self, at: slice) -> list[Placed]: ...

    def __getitem__(self, at: int | slice) -> Placed | list[Placed]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        if not 0 <= at < len(self._ids):
            raise IndexError(f"expected an event below {len(self._ids)}, found {at}")
        span = slice(at * HASH_SIZE, (at + 1) * HASH_SIZE)
        return Placed(
            bytes(self._digests[span]),
            bytes(self._links[span]) if self._is_linked[at] else None,
            self._ids[at],
            self._sessions[at],
            self._folders[at],
            self._times[at],
        )


class Segment(NamedTuple):
    """Positions [first, end) that are linked one to the next.

    `missing` is the hash that its first event names and no event has; None after a logger's start.
    """

    first: int
    end: int
    missing: bytes | None


@dataclass(slots=True)
class Ordered:
    """Indices of events in chain order, `order[position] = index`.

    First come the `segments`, then `sides`: events beside the chains, each with why.
    """

    order: "array[int]" = field(default_factory=lambda: array("q"))
    segments: list[Segment] = field(default_factory=list)
    sides: list["Side"] = field(default_factory=list)


class Side(NamedTuple):
    """Positions [first, end) that are in no chain."""

    first: int
    end: int
    kind: str


FORK = "forks off: another event names the same one before it"
COPY = "has the hash of another event"
CYCLE = "is linked in a circle: no logger has begun it"

_NONE = -1


def order_events(events: Sequence[Placed], is_weak: Callable[[int], bool]) -> Ordered:
    """Put events in chain order. Of two with the same predecessor the better is in the chain.

    Better: not weak (altered or not signed, by index), then with more events after it, then by
    hash, so that the same files always give the same answer.
    """
    links = _Links(events, is_weak)
    result = Ordered()
    mains = sorted(links.starts(), key=lambda at: (events[at].timestamp, events[at].digest))
    later: list[int] = []
    for start in mains:
        first = len(result.order)
        result.order.extend(links.path(start, later))
        previous = events[start].previous
        result.segments.append(Segment(first, len(result.order), previous))
    later += links.rivals
    while later:
        first = len(result.order)
        result.order.extend(links.path(later.pop(), later))
        result.sides.append(Side(first, len(result.order), FORK))
    for kind, rest in ((COPY, links.copies), (CYCLE, links.unreached())):
        for at in rest:
            result.sides.append(Side(len(result.order), len(result.order) + 1, kind))
            result.order.append(at)
    return result


class _Links:
    """Who follows whom, by index."""

    def __init__(self, events: Sequence[Placed], is_weak: Callable[[int], bool]) -> None:
        self._events = events
        self._is_weak = is_weak
        self._next = array("q", [_NONE]) * len(events)
        self._more: dict[int, list[int]] = {}
        self._depth = array("q", [0]) * len(events)
        self.copies: list[int] = []
        self.rivals: list[int] = []
        self._begins: list[int] = []
        self._orphans: dict[bytes, list[int]] = {}
        self._link()
        self._measure()

    def starts(self) -> Iterator[int]:
        """Loggers' first events, and the best event after each missing one."""
        yield from self._begins
        for orphans in self._orphans.values():
            best = max(orphans, key=self._rank)
            self.rivals += [at for at in orphans if at != best]
            yield best

    def path(self, at: int, later: list[int]) -> Iterator[int]:
        """From an event to the end of its chain; other branches are added to `later`."""
        while at != _NONE:
            yield at
            following = self._following(at)
            best = max(following, key=self._rank, default=_NONE)
            later += [other for other in following if other != best]
            at = best

    def unreached(self) -> list[int]:
        """Events that no start leads to."""
        copies = set(self.copies)
        return [at for at, depth in enumerate(self._depth) if not depth and at not in copies]

    def _link(self) -> None:
        places: dict[bytes, int] = {}
        for at, event in enumerate(self._events):
            other = places.setdefault(event.digest, at)
            if other != at and self._is_weak(other) and not self._is_weak(at):
                places[event.digest] = at
                self.copies.append(other)
            elif other != at:
                self.copies.append(at)
        copies = set(self.copies)
        for at, event in enumerate(self._events):
            if at in copies:
                continue
            before = _NONE if event.previous is None else places.get(event.previous, _NONE)
            if event.previous is None:
                self._begins.append(at)
            elif before == _NONE:
                self._orphans.setdefault(event.previous, []).append(at)
            elif self._next[before] == _NONE:
                self._next[before] = at
            else:
                self._more.setdefault(before, []).append(at)

    def _measure(self) -> None:
        """Events after each one, along the longest branch; zero where no start leads to."""
        reached = array("q", self._begins)
        reached.extend(at for some in self._orphans.values() for at in some)
        for at in reached:  # grows while it is walked
            reached.extend(self._following(at))
        for at in reversed(reached):
            depths = [self._depth[other] for other in self._following(at)]
            self._depth[at] = 1 + max(depths, default=0)

    def _following(self, at: int) -> list[int]:
        first = self._next[at]
        return [] if first == _NONE else [first, *self._more.get(at, ())]

    def _rank(self, at: int) -> tuple[bool, int, bytes]:
        return not self._is_weak(at), self._depth[at], self._events[at].digest
