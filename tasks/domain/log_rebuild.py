"""What is damaged in a sealed log's place, what can be put back, and how the two are written down.

Objects are named by their paths. Of thousands of tiles side by side a run is told, `first..last`:
a person can read it, and an order can name it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.domain.ledger.segments import Segment
from tasks.domain.ledger.tiles import TILE_WIDTH, Tile, TileError

MAX_RUNS = 2000
"""Of one order; the next one brings the rest."""

MAX_OBJECTS = 50_000
_MAX_RUN = 200
_BETWEEN = ".."

Range = tuple[int, int]
"""Records `first` <= seq < `end`."""


class Why(StrEnum):
    """What is wrong with an object."""

    MISSING = "missing"
    WRONG = "wrong content"
    TORN = "torn"


class Consistency(StrEnum):
    """What a consistency proof says of the tree that was found and the one that was put back."""

    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    NOTHING = "no old tree could be read"


class Mode(StrEnum):
    """Where the right copy of a damaged object goes. What is missing is put in its place by both.

    A plan that was approved for one is not carried out as the other.
    """

    IN_PLACE = "in place"  # the damaged one stays as an older version
    BESIDE = "beside"  # the place keeps no versions: nothing is written over


@dataclass(frozen=True, slots=True)
class Damaged:
    """An object that can be put back: why it must be, and `source`, from where it is proven."""

    path: str
    why: Why
    source: str


@dataclass(frozen=True, slots=True)
class Left:
    """An object that nothing proves, or that nobody may put back: for a person."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class StoredTree:
    """What the stored leaf tiles say, read from the first on: so many leaves with this root."""

    size: int
    root: bytes

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {"size": self.size, "root": self.root.hex()}


@dataclass(frozen=True, slots=True)
class Survey:
    """A look at a whole log's place; nothing is changed by it.

    `lost`: records whose line no source has as it was signed, so that their segments stay damaged.
    `proof` (hashes) shows how `found` and the head's tree belong together, `consistency` whether.
    """

    head: Checkpoint
    found: StoredTree
    consistency: Consistency
    proof: tuple[bytes, ...] = ()
    objects: tuple[Damaged, ...] = ()
    lost: tuple[Range, ...] = ()
    left: tuple[Left, ...] = ()
    versions_kept: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether everything that proves the head is there and right."""
        return not (self.objects or self.lost or self.left)

    @property
    def runs(self) -> list[str]:
        """The objects to put back, as an order names them."""
        return runs_of(one.path for one in self.objects)

    @property
    def mode(self) -> Mode:
        """How its objects would be put back."""
        return Mode.IN_PLACE if self.versions_kept else Mode.BESIDE


def runs_of(paths: Iterable[str]) -> list[str]:
    """Paths, those of full tiles that follow each other taken together; sorted."""
    tiles: list[Tile] = []
    others: list[str] = []
    for path in paths:
        tile = _full_tile(path)
        if tile is None:
            others.append(path)
        else:
            tiles.append(tile)
    runs: list[str] = []
    first = last = None
    for tile in sorted(tiles):
        if last is not None and (tile.level, tile.index) == (last.level, last.index + 1):
            last = tile
            continue
        if first is not None and last is not None:
            runs.append(_run(first, last))
        first = last = tile
    if first is not None and last is not None:
        runs.append(_run(first, last))
    return sorted(others) + runs


class Ordered:
    """What an order names; BadInput when it is none."""

    def __init__(self, runs: Sequence[str]) -> None:
        if len(runs) > MAX_RUNS:
            raise BadInput(f"expected at most {MAX_RUNS} objects or runs, found {len(runs)}")
        self._paths: set[str] = set()
        self._tiles: list[tuple[Tile, Tile]] = []
        for run in runs:
            if len(run) > _MAX_RUN or not run.isascii() or not run.isprintable():
                raise BadInput(f"expected the path of an object, found {ascii(run)[:80]}")
            first, between, last = run.partition(_BETWEEN)
            if not between:
                self._paths.add(run)
                continue
            ends = _full_tile(first), _full_tile(last)
            if ends[0] is None or ends[1] is None or ends[0].level != ends[1].level:
                raise BadInput(f"expected a run of tiles of one level, found {ascii(run)[:80]}")
            self._tiles.append((ends[0], ends[1]))

    def __contains__(self, path: str) -> bool:
        if path in self._paths:
            return True
        tile = _full_tile(path)
        return tile is not None and any(
            first.level == tile.level and first.index <= tile.index <= last.index
            for first, last in self._tiles
        )


def affected(paths: Iterable[str], size: int) -> tuple[Range, ...]:
    """The records whose lines or proofs lie in these objects of a log of `size` records."""
    found: list[Range] = []
    for path in paths:
        segment = Segment.parse(path)
        if segment is not None:
            found.append((segment.first, min(size, segment.first + segment.count)))
            continue
        with suppress(TileError):
            tile = Tile.parse(path)
            width = TILE_WIDTH**tile.level
            first = tile.index * TILE_WIDTH * width
            found.append((first, min(size, first + tile.width * width)))
    return merged(each for each in found if each[0] < each[1])


def order_digest(incident: str, runs: Sequence[str]) -> str:
    """Twelve hex digits by which an order is known when it comes again."""
    text = json.dumps([incident, sorted(runs)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges, ascending, those that touch taken together."""
    found: list[Range] = []
    for first, end in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((first, end))
    return tuple(found)


def ranges_in_words(ranges: Sequence[Range], limit: int = 20) -> str:
    """`12`, `40..99`, with a count of those beyond the limit; "none"."""
    named = [str(a) if b == a + 1 else f"{a}..{b - 1}" for a, b in ranges[:limit]]
    more = [f"{len(ranges) - limit} more ranges"] if len(ranges) > limit else []
    return ", ".join(named + more) or "none"


def _full_tile(path: str) -> Tile | None:
    try:
        tile = Tile.parse(path)
    except TileError:
        return None
    return tile if tile.path == path and ".p/" not in path else None


def _run(first: Tile, last: Tile) -> str:
    return first.path if first == last else f"{first.path}{_BETWEEN}{last.path}"
