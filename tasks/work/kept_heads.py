"""Heads of a log from every copy there is: stored, hidden behind a version, or kept by somebody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tasks.clients.errors import NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, NoteError, Trust
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.work.believed_tree import stored_copies
from tasks.work.log_files import LogStore
from tasks.work.log_heads import (
    CHECKPOINTS,
    MAX_RECORDS,
    MOST_OPENED,
    SIZE_NAME,
    segment_ends,
    stored_sizes,
    worth_opening,
)
from tasks.work.log_versions import KeptVersion, LogVersions

_MOST_LOOKED_AT = 100_000


@dataclass(frozen=True, slots=True)
class HeadCopy:
    """A head that the log signed. `counts`: with the witnesses that the trust demands."""

    checkpoint: Checkpoint
    note: str
    counts: bool
    source: str = ""


class KeptHeads:
    """Every head that the log's place has or had; `notes` are those that others kept."""

    def __init__(
        self, log: LogStore, trust: Trust, versions: LogVersions, notes: Sequence[str]
    ) -> None:
        self._log = log
        self._trust = trust
        self._versions = versions
        self._notes = [each for each in (self._open(note) for note in notes) if each is not None]
        self.stored = frozenset(stored_sizes(log))
        self._hidden: dict[int, list[KeptVersion]] = {}
        for each in versions.below(CHECKPOINTS):
            name = each.path.removeprefix(CHECKPOINTS)
            if SIZE_NAME.fullmatch(name):
                self._hidden.setdefault(int(name), []).append(each)
        kept = {each.checkpoint.size for each in self._notes}
        self.sizes = sorted(
            size for size in self.stored | self._hidden.keys() | kept if size <= MAX_RECORDS
        )

    def newest(self) -> HeadCopy:
        """The head of the highest size that counts. NotFound: none. NotProven: none counts."""
        tried = 0
        for size in worth_opening(self.sizes, self._spoken_for):
            tried += 1
            found = self.best(size)
            if found is not None and found.counts:
                return found
        if not self.sizes:
            raise NotFound(f"{self._log} has no checkpoint, nor an older version of one")
        raise NotProven(
            f"{self._log}: tried {tried} of {len(self.sizes)} checkpoints; no copy of one counts"
        )

    def worth_looking_at(self) -> tuple[list[int], int]:
        """(the sizes of which copies are compared, how many others there are).

        All of them, where nobody has planted thousands: then those at which a segment ends or ended
        or that somebody kept, and a few others.
        """
        if len(self.sizes) <= MOST_OPENED:
            return self.sizes, 0
        ends = self._spoken_for()
        known = [size for size in self.sizes if size in ends][-_MOST_LOOKED_AT:]
        others = [size for size in self.sizes if size not in ends][:MOST_OPENED]
        return sorted([*known, *others]), len(self.sizes) - len(known) - len(others)

    def best(self, size: int) -> HeadCopy | None:
        """The copy of this head that most witnesses signed; None when none verifies.

        NotProven when the log signed two heads of this size: then there are two histories.
        """
        found = [*self._copies(size), *(each for each in self._notes if _is_of(each, size))]
        if len({each.checkpoint for each in found}) > 1:
            raise NotProven(
                f"FORK: {self._log}: the log signed two heads of {size} records: two histories; "
                "nothing is put back, a person must look"
            )
        return next((each for each in found if each.counts), found[0] if found else None)

    def is_right(self, size: int, best: HeadCopy) -> bool:
        """Whether what everybody sees under this size is as good as the best copy."""
        if best.source == _path(size):
            return True
        stored = next((each for each in self._copies(size) if each.source == _path(size)), None)
        return stored is not None and (stored.counts or not best.counts)

    def _spoken_for(self) -> set[int]:
        """Sizes at which a segment ends, or ended once, and those that somebody kept."""
        hidden = (each.path for each in self._versions.below("seg/"))
        kept = {each.checkpoint.size for each in self._notes}
        return segment_ends(self._log.paths("seg/")) | segment_ends(hidden) | kept

    def _copies(self, size: int) -> Iterator[HeadCopy]:
        known = self._hidden.get(size, [])
        copies = stored_copies(self._log, self._versions, _path(size), MAX_NOTE_BYTES, known)
        for name, data in copies:
            opened = self._decoded(data)
            if opened is not None and _is_of(opened, size):
                yield replace(opened, source=name)

    def _decoded(self, data: bytes) -> HeadCopy | None:
        try:
            return self._open(data.decode("utf-8"))
        except UnicodeDecodeError:
            return None

    def _open(self, note: str) -> HeadCopy | None:
        try:
            signed = self._trust.open_signed(note)
        except NoteError:
            return None
        counts = len(signed.cosigned) >= self._trust.quorum
        return HeadCopy(signed.checkpoint, note, counts, "a head that was kept elsewhere")


def _path(size: int) -> str:
    return f"{CHECKPOINTS}{size}"


def _is_of(copy: HeadCopy, size: int) -> bool:
    return copy.checkpoint.size == size
