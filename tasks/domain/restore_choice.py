"""Which backup brings the wanted state back, and what the tables will be as of; pure.

The audit log comes back complete to its signed head whichever backup it is, because a signed log
never gets shorter. So a choice is about the other tables, and about not restoring what an attacker
had backed up: candidates are looked into from the newest on until one is clean inside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tasks.domain.backup_contents import Contents
from tasks.domain.backup_search import EARLIEST, LookInside, Search, age, as_of, in_order
from tasks.domain.backups import Backup, Kind
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.passed_over import NAMED, PassedOver, Unfit, passed_over
from tasks.domain.recovery_target import Target, TargetKind

_LATEST = Target()
_DUMPS = frozenset({Kind.DUMP, Kind.CLUSTER_DUMP})


@dataclass(frozen=True, slots=True)
class Choice:
    """The backup to restore for `target`.

    `contents`: what looking inside has shown; None when nobody could look (a base backup).
    `replay_to`: the moment to which WAL is replayed over a base backup. `mended`: no backup is
    clean inside, so this one's records are replaced from sealed segments. `poisoned_at`: when the
    oldest backup that contains the damage was taken, of those that were looked into.
    """

    backup: Backup
    target: Target = _LATEST
    contents: Contents | None = None
    replay_to: datetime | None = None
    mended: bool = False
    passed_over: tuple[PassedOver, ...] = ()
    poisoned_at: datetime | None = None
    note: str = ""

    @property
    def as_of(self) -> datetime | None:
        """The moment that the tables other than the audit log are as of; None: nobody knows."""
        return self.replay_to or as_of(self.backup, self.contents)

    @property
    def log_size(self) -> int:
        """Records of the signed log that the backup brings, as far as is known."""
        return self.contents.size if self.contents else self.backup.log_size

    @property
    def tables(self) -> str:
        """What is as of when, in one sentence."""
        log = "the audit log is complete to its signed head"
        if self.as_of is None:
            return f"{log}; the other tables are as of the dump, whose time nobody knows"
        when = moment(self.as_of)
        if self.replay_to is not None:
            return f"{log}; the other tables are as of {when}, by a base backup and its WAL"
        by = "when the dump was taken"
        if self.as_of != self.backup.taken_at:
            by = "the time of its last signed record: nobody signed when the dump was taken"
        return f"{log}; the other tables are as of {when}, {by}{self._no_point}"

    @property
    def _no_point(self) -> str:
        if self.target.kind is not TargetKind.TIME or self.target.time == self.as_of:
            return ""
        return f", not as of {self.target}: no base backup and WAL reach there"

    @property
    def bracket(self) -> str:
        """When the damage was done, as far as backups tell; empty when they tell nothing."""
        clean, poisoned = self.as_of, self.poisoned_at
        if clean is None or self.mended or self.contents is None:
            return ""
        if poisoned is not None and clean < poisoned:
            return f"the damage was done between {moment(clean)} and {moment(poisoned)}"
        if self.target.kind is not TargetKind.BEFORE_DAMAGE:
            return ""
        return f"the damage was done after {moment(clean)}"


def moment(at: datetime) -> str:
    """As people type and read it: `2026-11-22 14:05:00Z`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def choose(
    target: Target, backups: Iterable[Backup], head_size: int, look: LookInside, now: datetime
) -> Choice:
    """The backup for the target: signed ones first, none that is poisoned inside, the newest.

    A backup that claims more records than were ever signed cannot be proven, so it is passed over;
    one that is shorter than an older one comes after it: a signed log never gets shorter. If all
    that were looked into are poisoned, the newest is taken all the same, to be mended. Whatever is
    newer than the choice is named with its reason. Raises NotProven with every reason when none
    fits, BadInput for a moment that has not come yet.
    """
    if target.time is not None and target.time > now:
        raise BadInput(f"expected a moment that is past, found {target}: it is {moment(now)} now")
    fit, unfit = _fitting(backups, head_size)
    replayed = _replayed_of(target, fit)
    search = Search(target, look)
    choice = replayed
    if replayed is None or not _is_enough(replayed, fit):
        found = _chosen(target, search.run(*_candidates(target, fit)))
        choice = replayed if replayed is not None and _is_nearer(replayed, found) else found
    if choice is None:
        raise _nothing(target, fit, [*unfit, *search.reasons], head_size)
    passed = passed_over(target, choice.backup, choice.as_of, fit, unfit, search.reasons)
    return replace(choice, passed_over=passed)


def first_looked_into(target: Target, backups: Iterable[Backup], head_size: int) -> Backup | None:
    """The signed dump that `choose` fetches first, and most often takes; None when there is none.

    What an unsigned one says of its size is no reason to stop for.
    """
    fit, _ = _fitting(backups, head_size)
    replayed = _replayed_of(target, fit)
    if replayed is not None and _is_enough(replayed, fit):
        return None
    signed, _ = _candidates(target, fit)
    return signed[0] if signed else None


def _candidates(target: Target, fit: Iterable[Backup]) -> tuple[list[Backup], list[Backup]]:
    """The dumps that may be looked into for the target, signed and unsigned."""
    dumps = [each for each in fit if each.kind in _DUMPS and _is_before(target, each)]
    unsigned = sorted((each for each in dumps if not each.trusted), key=age, reverse=True)
    return in_order(each for each in dumps if each.trusted), unsigned


def _replayed_of(target: Target, fit: Sequence[Backup]) -> Choice | None:
    dumps = [each for each in fit if each.kind in _DUMPS]
    return _replayed(target, [each for each in fit if each.kind is Kind.BASE], dumps)


def _is_enough(replayed: Choice, fit: Iterable[Backup]) -> bool:
    """Whether no dump needs to be looked into: WAL reaches the target, or there is no dump."""
    reaches = replayed.replay_to == replayed.target.time
    return reaches or not any(each.kind in _DUMPS for each in fit)


def _is_nearer(one: Choice, other: Choice | None) -> bool:
    return other is None or (one.as_of or EARLIEST) > (other.as_of or EARLIEST)


def _fitting(backups: Iterable[Backup], head_size: int) -> tuple[list[Backup], list[Unfit]]:
    """Usable ones, the signed before the others, each from the newest on; and the rest."""
    fit: list[Backup] = []
    unfit: list[Unfit] = []
    for backup in backups:
        if backup.unusable:
            unfit.append((backup, backup.unusable))
        elif backup.kind in _DUMPS and backup.log_size > head_size:
            why = f"{backup.log_size} records, only {head_size} are signed"
            unfit.append((backup, why))
        else:
            fit.append(backup)
    fit.sort(key=lambda each: (each.trusted, *age(each)), reverse=True)
    return fit, unfit


def _is_before(target: Target, backup: Backup) -> bool:
    if target.time is not None:
        return backup.taken_at is not None and backup.taken_at <= target.time
    return target.size is None or backup.log_size <= target.size


def _replayed(target: Target, bases: Sequence[Backup], dumps: Sequence[Backup]) -> Choice | None:
    """The base backup and WAL that reach the target or come nearest to it from before.

    WAL replays the damage as well, so it is used when a moment is asked for; without any dump, to
    its end.
    """
    if target.kind is TargetKind.LATEST and bases and not dumps:
        base = max(bases, key=lambda each: (each.trusted, each.covers_until or EARLIEST))
        end = f"to {base.wal_hole}, which is missing," if base.wal_hole else "to its end,"
        note = f"there is no dump, so the WAL is replayed {end} the damage included"
        return Choice(base, target, replay_to=base.covers_until, note=note)
    if target.time is None:
        return None
    before = [each for each in bases if each.taken_at and each.taken_at <= target.time]
    reaching = [each for each in before if each.covers_until and each.covers_until >= target.time]
    if reaching:
        return Choice(reaching[0], target, replay_to=target.time)
    ending = [each for each in before if each.covers_until and each.covers_until > age(each)[0]]
    if not ending:
        return None
    base = max(ending, key=lambda each: each.covers_until or EARLIEST)
    why = f"WAL segment {base.wal_hole} is missing" if base.wal_hole else "no later WAL is archived"
    note = (
        f"the WAL of {base.key} ends before {target}: {why}; the latest moment that can be reached "
        f"is {moment(base.covers_until or EARLIEST)}"
    )
    return Choice(base, target, replay_to=base.covers_until, note=note)


def _chosen(target: Target, search: Search) -> Choice | None:
    """What the search has found; else what it could not do better than, to be mended."""
    if search.found is not None:
        note = "" if search.found.trusted else "nobody signed this backup"
        at = search.poisoned_at
        return Choice(search.found, target, search.contents, poisoned_at=at, note=note)
    if search.last_resort is None:
        return None
    backup, contents = search.last_resort
    none = "no backup is clean inside"
    if search.left:
        none = (
            f"none of the {len(search.looked)} backups that were looked into is clean inside, and "
            f"{search.left} were not looked into"
        )
    note = (
        f"{none}: this is the newest, and its altered and missing records are replaced from sealed "
        "segments; what was done to other tables is unknown"
    )
    return Choice(backup, target, contents, mended=True, note=note)


def _nothing(
    target: Target, fit: Sequence[Backup], reasons: Sequence[Unfit], head_size: int
) -> NotProven:
    found = "; ".join(f"{backup.key}: {why}" for backup, why in reasons[:NAMED]) or "none"
    oldest = min((each.taken_at for each in fit if each.taken_at), default=None)
    if target.time is not None and oldest is not None and oldest > target.time:
        found = f"{found}; the oldest is of {moment(oldest)}"
    elif any(each.kind is Kind.BASE for each in fit):
        found = f"{found}; base backups cannot be looked into, but may be had as of a time"
    return NotProven(
        f"expected a backup of at most {head_size} signed records for the target {target}, found "
        f"{found}: choose another target, or bring a backup back from another place; production "
        "is untouched"
    )
