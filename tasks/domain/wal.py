"""PostgreSQL's write-ahead log as an archive of files: names, timelines, gaps.

A position (LSN) is a number of bytes since the cluster was made, written `16/B374D848`. The log is
cut into segments of equal size (16 MiB unless initdb was told otherwise); a segment's file is named
by the timeline that wrote it and its number: `0000000100000016000000B3`, eight hex digits each of
timeline, number / (4 GiB / size), number % (4 GiB / size). A promotion begins a new timeline, whose
`0000000N.history` says where it left its parent. Pure; names come from strangers.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from tasks.domain.errors import BadInput

SEGMENT_BYTES = 16 * 1024 * 1024
"""Of a segment, unless initdb was told otherwise."""

_SMALLEST, _LARGEST = 1024 * 1024, 1024**3
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_LAYERS = (".zst", ".gz", "")
_MANY_TIMELINES = 1000  # in one history file


def parse_lsn(text: str) -> int:
    """`16/B374D848` as a number of bytes. Raises BadInput."""
    found = _LSN.fullmatch(text)
    if found is None:
        raise BadInput(f"expected a WAL position such as 16/B374D848, found {text[:40]!r}")
    return int(found[1], 16) << 32 | int(found[2], 16)


def format_lsn(lsn: int) -> str:
    """As PostgreSQL writes it; `parse_lsn` is its inverse."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def check_segment_bytes(size: int) -> int:
    """The size, if a cluster can have such segments; BadInput otherwise."""
    if not _SMALLEST <= size <= _LARGEST or size & (size - 1):
        raise BadInput(f"expected WAL segments of 1 MiB to 1 GiB, a power of two, found {size}")
    return size


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the log: `number` segments after the cluster's first byte."""

    timeline: int
    number: int

    def name(self, size: int = SEGMENT_BYTES) -> str:
        """Its file's name, for segments of `size` bytes."""
        per_log = 2**32 // size
        return f"{self.timeline:08X}{self.number // per_log:08X}{self.number % per_log:08X}"

    @classmethod
    def parse(cls, name: str, size: int = SEGMENT_BYTES) -> Self:
        """The segment of a file's name. Raises BadInput for another file."""
        found = _SEGMENT.fullmatch(name)
        per_log = 2**32 // size
        if found is None or int(found[1], 16) == 0 or int(found[3], 16) >= per_log:
            raise BadInput(f"expected a WAL segment's name, found {name[:60]!r}")
        return cls(int(found[1], 16), int(found[2], 16) * per_log + int(found[3], 16))


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments that are not there, first and last included."""

    first: Segment
    last: Segment

    def describe(self, size: int = SEGMENT_BYTES) -> str:
        """For a person."""
        if self.first == self.last:
            return self.first.name(size)
        return f"{self.first.name(size)} to {self.last.name(size)}"


def plain_name(stored: str) -> str:
    """The name without what a compressor added; anything else is as it was."""
    return next(stored.removesuffix(end) for end in _LAYERS if stored.endswith(end))


def history_timeline(name: str) -> int | None:
    """The timeline whose history file this is; None for another file."""
    found = _HISTORY.fullmatch(name)
    return int(found[1], 16) if found else None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A timeline and how it came about: `(parent, position at which it was left)`, oldest first."""

    number: int
    parents: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, number: int, history: str) -> Self:
        """From the text of its history file. Raises BadInput when it is none of a later timeline.

        Lines: parent, position, reason; comments begin with #.
        """
        parents: list[tuple[int, int]] = []
        for line in history.splitlines():
            fields = line.split(maxsplit=2)
            if not fields or fields[0].startswith("#"):
                continue
            known, at = parents[-1] if parents else (0, 0)
            if len(fields) < 2 or not fields[0].isdecimal() or len(fields[0]) > 10:  # noqa: PLR2004
                raise BadInput(f"expected 'timeline position reason', found {line[:80]!r}")
            parent, left = int(fields[0]), parse_lsn(fields[1])
            if not known < parent < number or left < at or len(parents) > _MANY_TIMELINES:
                raise BadInput(f"expected rising timelines below {number}, found {line[:80]!r}")
            parents.append((parent, left))
        return cls(number, tuple(parents))

    def descends_from(self, timeline: int, lsn: int) -> bool:
        """Whether a cluster that was on `timeline` at `lsn` can be brought onto this one."""
        if timeline == self.number:
            return True
        return any(parent == timeline and left >= lsn for parent, left in self.parents)

    def first_segment(self, size: int = SEGMENT_BYTES) -> Segment:
        """The first that it wrote: a copy of its parent's, up to where it left that."""
        return Segment(self.number, self.parents[-1][1] // size if self.parents else 0)

    def segment(self, number: int, size: int = SEGMENT_BYTES) -> Segment:
        """Which file to replay: a new timeline begins with a copy of the segment it left."""
        for parent, left in self.parents:
            if number < left // size:
                return Segment(parent, number)
        return Segment(self.number, number)


@dataclass(frozen=True, slots=True)
class Chain:
    """What an archive has for one recovery, in the order of replay.

    `reachable`: from the first needed on, without a hole. `gaps`: what is missing before the
    newest segment that is there. Without gaps `reachable` ends with the newest.
    """

    reachable: tuple[Segment, ...]
    gaps: tuple[Gap, ...]


def chain(
    present: Collection[Segment], first: int, timeline: Timeline, size: int = SEGMENT_BYTES
) -> Chain:
    """The chain along `timeline` from segment number `first` on; the newest present one ends it."""
    numbers = sorted(
        each.number
        for each in present
        if each.number >= first and timeline.segment(each.number, size) == each
    )
    reachable: list[Segment] = []
    gaps: list[Gap] = []
    due = first
    for number in numbers:
        if number > due:
            gaps.append(Gap(timeline.segment(due, size), timeline.segment(number - 1, size)))
        if not gaps:
            reachable.append(timeline.segment(number, size))
        due = number + 1
    return Chain(tuple(reachable), tuple(gaps))


def gaps_in(present: Iterable[Segment]) -> list[Gap]:
    """Holes between the first and the last segment of each timeline."""
    found = []
    ordered = sorted(present)
    for before, after in pairwise(ordered):
        if before.timeline == after.timeline and after.number > before.number + 1:
            first = Segment(before.timeline, before.number + 1)
            found.append(Gap(first, Segment(before.timeline, after.number - 1)))
    return found


def newest_timeline(
    timelines: Sequence[Timeline],
    present: Collection[Segment],
    base_timeline: int,
    base_end: int,
    size: int = SEGMENT_BYTES,
) -> Timeline:
    """The newest timeline that a base backup, which ended at `base_end`, can be brought onto.

    Only one whose first segment is there: a history file alone is thirty bytes from anybody, and
    following it would end the log where it says.
    """
    candidates = [
        each
        for each in timelines
        if each.descends_from(base_timeline, base_end)
        and (each.number == base_timeline or each.first_segment(size) in present)
    ]
    return max(candidates, key=lambda each: each.number, default=Timeline(base_timeline))


def forks(
    timeline: Timeline, present: Iterable[Segment], base_timeline: int, size: int = SEGMENT_BYTES
) -> list[Segment]:
    """Of each parent that went on behind the position where `timeline` left it, the last segment.

    Then there are two ends of the log, and which one is the latest state is a person's to say.
    Only parents from the base's own timeline on: an earlier fork lies before the base.
    """
    left = {parent: at // size for parent, at in timeline.parents if parent >= base_timeline}
    last: dict[int, Segment] = {}
    for each in present:
        if each.timeline in left and each.number >= left[each.timeline]:
            last[each.timeline] = max(each, last.get(each.timeline, each))
    return sorted(last.values())
