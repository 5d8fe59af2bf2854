"""What became of each row of other tables, in words that a list and a report can carry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class What(StrEnum):
    """What became of one row (or, without a key, of a table as a whole)."""

    CARRIED = "carried over"  # rests on the damaged database's own word: nothing signs it
    CHANGED = "changed, carried over"  # the living row was newer
    RAISED = "spend raised"  # to the living table's value
    LISTED = "not carried over"  # the rule lists it
    DIFFERS = "differs"  # same key, other content, and nothing says that it is newer
    GONE = "only in the backup"  # kept; somebody deleted it since, rightly or not
    AMBIGUOUS = "key not unique"  # or NULL; not carried over
    REFUSED = "refused"  # by a constraint or a type of the restored table
    UNREADABLE = "unreadable"  # the table as a whole
    ERASED = "erased again"
    LIVES = "erasure not repeated"  # the living database has the row, so it came after the erasure
    ERASURE_FAILED = "erasure failed"
    UNSIGNED = "erasure not signed"  # anybody could have written it: a person has to erase
    FELL = "spend fell"  # the living table said less than the backup
    NO_NUMBER = "spend is no number"  # NaN or infinite
    UNCHARGED = "released, not charged"  # the log's releases add up to more than the table said
    UNRELEASED = "charged, no release"  # the table said more than the log's releases add up to
    BAD_RELEASE = "unreadable release"
    UNCOMPARED = (
        "spend not compared"  # the living table is gone, of another form, or has other rows
    )
    LOST = "records lost"  # each may have been a release
    OTHER_OWNER = "owner differs"  # the restored table belongs to the database's owner
    RIGHTS = "rights differ"  # from the living database's; the detail says what was done
    CUT_OFF = "tables not looked at"  # more than are looked at


NOT_CARRIED = frozenset(
    {
        *(What.LISTED, What.DIFFERS, What.GONE, What.AMBIGUOUS, What.REFUSED, What.UNREADABLE),
        *(What.NO_NUMBER, What.ERASURE_FAILED, What.UNSIGNED, What.CUT_OFF),
    }
)
"""What the living database has and the restored one does not have so."""

CONTRADICTIONS = frozenset(
    {
        *(What.FELL, What.NO_NUMBER, What.UNCHARGED, What.UNRELEASED, What.BAD_RELEASE),
        *(What.UNCOMPARED, What.LOST),
    }
)
"""About privacy spend: no release until a person has looked."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Numbers of rows by table (`schema.table`) and by what became of them.

    `living`: there was a database to reconcile with. `sequences`: how many were moved on.
    """

    counts: Mapping[str, Mapping[What, int]] = field(default_factory=dict)
    sequences: int = 0
    living: bool = True

    def total(self, *kinds: What) -> int:
        """Rows of all tables of which one of these became."""
        return sum(counts.get(kind, 0) for counts in self.counts.values() for kind in kinds)

    @property
    def not_carried(self) -> int:
        """Entries of the signed list about what does not come over."""
        return self.total(*NOT_CARRIED)

    @property
    def contradictions(self) -> dict[str, int]:
        """By kind: why no release is allowed until a person looked; empty when nothing speaks."""
        found = {what.value: self.total(what) for what in What if what in CONTRADICTIONS}
        return {what: count for what, count in found.items() if count}

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal and the report: numbers, never a row's content."""
        return {
            "tables": {
                name: {what.value: count for what, count in sorted(counts.items())}
                for name, counts in sorted(self.counts.items())
            },
            "carried_over": self.total(What.CARRIED, What.CHANGED, What.RAISED),
            "not_carried_over": self.not_carried,
            "erased_again": self.total(What.ERASED),
            "sequences_moved_on": self.sequences,
            "living_database": self.living,
            "contradictions": self.contradictions,
        }

    def sentence(self) -> str:
        """One line for people."""
        if not self.living:
            begin = "the living database is gone, so other tables are as of the backup"
        else:
            begin = (
                f"{self.total(What.CARRIED, What.CHANGED, What.RAISED)} rows of other tables "
                f"carried over, {self.not_carried} on the list of what is not"
            )
        erased = self.total(What.ERASED)
        if erased:
            begin += f"; {erased} rows erased since the backup are erased again"
        by_hand = self.total(What.UNSIGNED, What.ERASURE_FAILED, What.LIVES)
        if by_hand:
            begin += f"; erasures that are not made again: {by_hand}, to be made by hand"
        if self.contradictions:
            said = ", ".join(f"{what}: {count}" for what, count in self.contradictions.items())
            begin += f"; privacy spend is contradicted ({said}): no release until a person looked"
        return begin
