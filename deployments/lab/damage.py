"""What a fault has done: only the demo's judgement and the tests may look at it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Damage:
    """The seqs that a fault altered and removed, ascending; `table`: the table itself is gone.

    `said`: all of it in plain words. `objects`: keys of the sealed log that are gone; `refused` of
    them Object Lock has saved from being deleted the ordinary way. `bad_backups`: keys of dumps
    that must not be restored; `good_backup`: the newest that may be. `segment`: a WAL file that is
    gone; `annotations`: event ids of the rows of that table that surely lie in the WAL before it,
    and `annotations_later` of those that only came after. `at`: the moment just before the damage.
    `free_bytes`: room that is left where the responder works. `cause`: the code of the cause that a
    diagnosis must name first; `culprits`: pids of the sessions that make the trouble; `account`:
    whose they are. `address`: where an attacker comes from; `names`: accounts that it has tried.
    `people`: how many are concerned by an exposure.
    """

    said: str = ""
    modified: tuple[int, ...] = ()
    deleted: tuple[int, ...] = ()
    table: bool = False
    objects: tuple[str, ...] = ()
    refused: int = 0
    bad_backups: tuple[str, ...] = ()
    good_backup: str = ""
    segment: str = ""
    at: datetime | None = None
    annotations: frozenset[str] = frozenset()
    annotations_later: frozenset[str] = frozenset()
    free_bytes: int = 0
    cause: str = ""
    culprits: frozenset[int] = frozenset()
    account: str = ""
    address: str = ""
    names: frozenset[str] = frozenset()
    people: int = 0

    @property
    def concerns_records(self) -> bool:
        """Whether records of the table are damaged."""
        return self.table or bool(self.modified) or bool(self.deleted)
