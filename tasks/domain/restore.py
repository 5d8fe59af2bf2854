"""Which backup comes back, what it brings, what cannot be had; decided before any change."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.domain.backups import Backup
from tasks.domain.errors import BadInput, NotProven

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
    word the numbers are what the damaged table says of itself.
    """

    from_backup: int
    from_segments: int
    unsigned_tail: int
    size_after: int
    lost_at_most: int
    acknowledged_known: bool = True
    table_readable: bool = True

    @property
    def approvers_needed(self) -> int:
        """Two when neither writers nor table can say what was acknowledged, else one.

        Then acknowledged records may vanish of which no loss list knows.
        """
        return 1 if self.acknowledged_known or self.table_readable else 2

    @property
    def will_be_lost(self) -> str:
        """The sentence for the plan."""
        if not self.acknowledged_known:
            return self._lost_as_far_as_known()
        if not self.unsigned_tail:
            return "nothing: every acknowledged record is under the signed head"
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
        return (
            "unknown: the writers could not be asked what they were told; nothing signed is lost "
            f"(head at {first}), and {known}"
        )


def choose_backup(backups: Iterable[Backup], head_size: int) -> Backup:
    """The newest usable backup that is not newer than the signed head of `head_size` records.

    A backup that claims more records than were ever signed cannot be proven, so it is passed over.
    Raises NotProven with every reason when none is left.
    """
    fit: list[Backup] = []
    reasons: list[str] = []
    for backup in backups:
        if backup.unusable:
            reasons.append(f"{backup.key}: {backup.unusable}")
        elif backup.log_size > head_size:
            reasons.append(f"{backup.key}: {backup.log_size} records, only {head_size} are signed")
        else:
            fit.append(backup)
    if not fit:
        found = "; ".join(reasons[:20]) or "none at all"
        raise NotProven(
            f"expected a backup with a signed manifest of at most {head_size} records, "
            f"found {found}: bring one back from another place; production is untouched"
        )
    return max(fit, key=lambda one: (one.log_size, one.taken_at, one.key))


def plan_numbers(
    backup: Backup,
    head_size: int,
    table_end: int,
    table_tail: int,
    acknowledged: int | None,
    *,
    table_readable: bool = True,
) -> RestoreNumbers:
    """Numbers of a plan.

    `table_end` is the damaged table's last seq + 1 (0 without a table), `table_tail` how many of
    its rows lie at or after the signed head, `acknowledged` the size that the writers report, None
    when they could not be asked.
    """
    size_after = max(head_size, table_end, acknowledged or 0)
    tail = size_after - head_size
    return RestoreNumbers(
        from_backup=min(backup.log_size, head_size),
        from_segments=max(0, head_size - backup.log_size),
        unsigned_tail=tail,
        size_after=size_after,
        lost_at_most=max(0, tail - table_tail),
        acknowledged_known=acknowledged is not None,
        table_readable=table_readable,
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
