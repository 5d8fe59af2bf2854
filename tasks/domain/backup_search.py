"""The search for a backup that is clean inside, which fetches as few as it can; pure.

Signed dumps come first. A signed log never gets shorter, so the longest of them is the newest, and
one that an attacker had backed up is followed by others: behind the first few the search halves
what is left instead of fetching all. Of unsigned ones nobody knows when they were taken: the time
of a file is its writer's to choose, so they are compared by the last signed record inside.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tasks.domain.backup_contents import Contents, Inside
from tasks.domain.backups import Backup, Kind
from tasks.domain.recovery_target import Target

LookInside = Callable[[Backup], Contents]
"""Fetches a dump and compares its records with what was signed."""

MOST_LOOKED_INTO = 40
"""Dumps that one plan fetches; a log that was poisoned for longer is a person's to look at."""

_IN_TURN = 20  # of the signed ones, before halving begins
_FOR_UNSIGNED = 8  # looks that are kept for them
EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Search:
    """What has been looked into, and what it was.

    `reasons`: why each was not taken, in the order of looking; `poisoned`: signed ones that hold
    the damage; `last_resort`: the first that could be mended. `left`: candidates that nobody has
    looked into.
    """

    target: Target
    look: LookInside
    found: Backup | None = None
    contents: Contents | None = None
    looked: list[Backup] = field(default_factory=list)
    reasons: list[tuple[Backup, str]] = field(default_factory=list)
    poisoned: list[Backup] = field(default_factory=list)
    last_resort: tuple[Backup, Contents] | None = None
    left: int = 0

    def run(self, signed: Sequence[Backup], unsigned: Sequence[Backup]) -> "Search":
        """Look until one is clean. Each sequence begins with what is most wanted."""
        rest = signed[_IN_TURN:]
        in_turn = self._first_of(signed[:_IN_TURN]) or self._halving(rest)
        if not in_turn and not self._first_of(rest, MOST_LOOKED_INTO - _FOR_UNSIGNED):
            self._newest_of(unsigned)
        self.left = len(signed) + len(unsigned) - len(self.looked)
        return self

    @property
    def poisoned_at(self) -> datetime | None:
        """When the oldest signed backup with the damage was taken that is newer than the found."""
        since = as_of(self.found, self.contents) if self.found else None
        times = [each.taken_at for each in self.poisoned if each.taken_at]
        return min((at for at in times if since is None or at > since), default=None)

    def _first_of(self, backups: Iterable[Backup], most: int = MOST_LOOKED_INTO) -> bool:
        for backup in backups:
            if len(self.looked) >= most:
                break
            if backup not in self.looked and (contents := self._clean(backup)) is not None:
                self.found, self.contents = backup, contents
                return True
        return False

    def _halving(self, backups: Sequence[Backup]) -> bool:
        """The newest clean one, if those before it are poisoned and those behind it are not."""
        low, high = 0, len(backups)
        while low < high and len(self.looked) < MOST_LOOKED_INTO - _FOR_UNSIGNED:
            middle = (low + high) // 2
            contents = self._clean(backups[middle])
            if contents is None:
                low = middle + 1
            else:
                high = middle
                self.found, self.contents = backups[middle], contents
        return self.found is not None

    def _newest_of(self, backups: Iterable[Backup]) -> None:
        """The clean one whose last signed record is the newest; file times only end the search."""
        for backup in backups:
            best = as_of(self.found, self.contents) if self.found else None
            is_older = best is not None and (backup.taken_at or EARLIEST) < best
            if is_older or len(self.looked) >= MOST_LOOKED_INTO:
                break
            contents = self._clean(backup)
            if contents is None:
                continue
            before, why = self.found, "nobody signed it, and its records end no later"
            if before is None or _worth(backup, contents) > _worth(before, self.contents):
                self.found, self.contents = backup, contents
                self.reasons += [(before, why)] if before is not None else []
            else:
                self.reasons.append((backup, why))

    def _clean(self, backup: Backup) -> Contents | None:
        contents = self.look(backup)
        self.looked.append(backup)
        why = self._unfit(backup, contents)
        if not why:
            return contents
        self.reasons.append((backup, why))
        return None

    def _unfit(self, backup: Backup, contents: Contents) -> str:
        if self.target.size is not None and contents.size > self.target.size:
            return f"{contents.size} records inside"
        if contents.status in {Inside.UNREADABLE, Inside.NO_LOG}:
            return str(contents)
        if self.target.time is not None and as_of(backup, contents) is None:
            return "nobody knows of when it is"
        if contents.status is Inside.CLEAN:
            return ""
        self.last_resort = self.last_resort or (backup, contents)
        if backup.trusted:
            self.poisoned.append(backup)
        return str(contents)


def as_of(backup: Backup, contents: Contents | None) -> datetime | None:
    """The moment that a dump's tables are as of; None when nobody knows.

    A signed one says it. An unsigned one is at most as new as its last signed record, and as its
    file: a copy of an old dump has the time of copying.
    """
    if backup.trusted or contents is None:
        return backup.taken_at
    if backup.taken_at is None or contents.last_at is None:
        return None
    return min(backup.taken_at, contents.last_at)


def age(backup: Backup) -> tuple[datetime, int, str]:
    """What sorts backups by their own word, the oldest first."""
    return backup.taken_at or EARLIEST, backup.log_size, backup.key


def in_order(signed: Iterable[Backup]) -> list[Backup]:
    """Signed dumps, the one that is wanted most first.

    Of one database the longest log counts, not the time: one that is shorter than an older one was
    cut, unless the older one is not clean itself. Dumps of all databases stand there by their time.
    """
    found = list(signed)
    singles = sorted(
        (each for each in found if each.kind is Kind.DUMP),
        key=lambda each: (each.log_size, *age(each)),
    )
    clusters = sorted((each for each in found if each.kind is not Kind.DUMP), key=age)
    merged: list[Backup] = []
    while singles and clusters:
        newer = singles if age(singles[-1]) >= age(clusters[-1]) else clusters
        merged.append(newer.pop())
    return [*merged, *reversed(singles), *reversed(clusters)]


def _worth(backup: Backup, contents: Contents | None) -> tuple[datetime, int]:
    return as_of(backup, contents) or EARLIEST, contents.size if contents else 0
