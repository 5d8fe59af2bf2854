"""What a restore brings, what cannot be had, under which names; decided before any change."""

import hashlib
import re
from dataclasses import dataclass

from tasks.domain.errors import BadInput

_SUFFIX_LIMIT = 32  # and 19 for the name and 12 for "_quarantine_": PostgreSQL's 63 bytes
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,18}")


@dataclass(frozen=True, slots=True)
class DatabaseNames:
    """The three names of one recovery on the patient's server."""

    production: str
    scratch: str
    quarantine: str


@dataclass(frozen=True, slots=True)
class RestoreNumbers:
    """The plan's numbers, in records. `lost_at_most` is settled only by the carry-over.

    `acknowledged_known`: the writers could be asked what they were told is written. Without their
    word the numbers are what the damaged table says of itself. `doubt`: they answered, but not
    with a head; then nobody should rely on what the table says either. `database_exists`: the
    living database, from which newer rows of other tables come.
    """

    from_backup: int
    from_segments: int
    unsigned_tail: int
    size_after: int
    lost_at_most: int
    acknowledged_known: bool = True
    table_readable: bool = True
    database_exists: bool = True
    doubt: str = ""

    @property
    def approvers_needed(self) -> int:
        """Two when something may vanish of which no signed list knows, else one.

        Acknowledged records, when neither writers nor table can say which there were, or when
        somebody keeps the writers from saying it; rows of other tables, when their database is
        gone.
        """
        is_heard = self.acknowledged_known or (self.table_readable and not self.doubt)
        return 1 if is_heard and self.database_exists else 2

    @property
    def will_be_lost(self) -> str:
        """Of the audit log's records; the first part of the plan's sentence."""
        if not self.acknowledged_known:
            return self._lost_as_far_as_known()
        if not self.unsigned_tail:
            return "no record: every acknowledged one is under the signed head"
        first = self.size_after - self.unsigned_tail
        return (
            f"nothing signed; of the {self.unsigned_tail} acknowledged but unsigned records "
            f"{first}..{self.size_after - 1} those that the damaged table no longer proves "
            f"(known now: {self.lost_at_most}), each on the signed loss list"
        )

    def _lost_as_far_as_known(self) -> str:
        first = self.size_after - self.unsigned_tail
        if not self.table_readable:
            known = "the table cannot be read: everything acknowledged after it is gone, unlisted"
        elif self.unsigned_tail:
            known = (
                f"of the {self.unsigned_tail} unsigned records {first}..{self.size_after - 1} that "
                f"the damaged table reaches to, {self.lost_at_most} are missing now; acknowledged "
                "ones beyond its end would be on no list"
            )
        else:
            known = "the damaged table holds none after it; acknowledged ones would be on no list"
        asked = "could not be asked" if not self.doubt else "did not say intelligibly"
        return (
            f"unknown: the writers {asked} what they were told; nothing signed is lost "
            f"(head at {first}), and {known}"
        )


def plan_numbers(
    brought: int,
    head_size: int,
    table_end: int,
    table_tail: int,
    acknowledged: int | None,
    *,
    table_readable: bool = True,
    database_exists: bool = True,
    doubt: str = "",
) -> RestoreNumbers:
    """Numbers of a plan. `brought`: signed records that the backup has, as far as is known.

    `table_end` is the damaged table's last seq + 1 (0 without a table), `table_tail` how many of
    its rows lie at or after the signed head, `acknowledged` the size that the writers report, None
    when they could not be asked; `doubt` is why their answer was none.
    """
    size_after = max(head_size, table_end, acknowledged or 0)
    tail = size_after - head_size
    return RestoreNumbers(
        from_backup=min(brought, head_size),
        from_segments=max(0, head_size - brought),
        unsigned_tail=tail,
        size_after=size_after,
        lost_at_most=max(0, tail - table_tail),
        acknowledged_known=acknowledged is not None,
        table_readable=table_readable,
        database_exists=database_exists,
        doubt=doubt,
    )


def incident_suffix(incident: str) -> str:
    """The incident as the end of a database name: at most 32 of [a-z0-9_].

    Two incidents may not collide, so whatever a name cannot hold is replaced by a digest.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", incident.lower()).strip("_")
    if plain.replace("_", "-") == incident.lower() and len(plain) <= _SUFFIX_LIMIT:
        return plain
    digest = hashlib.sha256(incident.encode()).hexdigest()[:12]
    return f"{plain[: _SUFFIX_LIMIT - 13]}_{digest}"


def database_names(production: str, incident: str) -> DatabaseNames:
    """Scratch and quarantine beside `production`. Raises BadInput for a name that needs quoting."""
    if not _NAME.fullmatch(production):
        raise BadInput(
            f"expected a database name of at most 19 lower-case letters, digits and underscores, "
            f"found {production[:80]!r}: correct RUNBOOK_DATABASE__NAME"
        )
    suffix = incident_suffix(incident)
    return DatabaseNames(
        production, f"{production}_restore_{suffix}", f"{production}_quarantine_{suffix}"
    )
