"""Restore drills: which backup is tried, what came of it, and how long coming back would take.

RTO, in seconds: from the first byte fetched to the proof, phase by phase, as measured.
RPO, in seconds: how old the restored log would be. From the time of the newest record that the
backup brings, completed from sealed segments, to the time of the newest record that the writers had
been told is written; where the audit API does not show that one, to the start of the drill, which
can only be more. `alone` is the same for the backup without the segments.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tasks.domain.alertmanager import clean
from tasks.domain.backups import Backup, Format, Kind, Proof
from tasks.domain.errors import BadInput

_REASON_LIMIT = 2000
_KEY_LIMIT = 1024
_NOTES = 100
_NOTE_LIMIT = 300
_CALLED_A_DUMP = re.compile(
    r"\.(?:dump|pgdump|sql|backup|bak|tar|gz|zst|gpg)(?:\.manifest)?$", re.IGNORECASE
)
_NEVER = datetime.min.replace(tzinfo=UTC)


class Ending(StrEnum):
    """What a drill says about a backup."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "could not tell"


class Choice(StrEnum):
    """How the backup was chosen."""

    NEWEST = "newest"
    OLDER = "older"  # drawn at random among those that are not the newest
    NAMED = "named"  # by a person


class Phase(StrEnum):
    """What takes the time."""

    FETCH = "fetch"
    LOAD = "load"
    CHECK = "check"
    PROVE = "prove"


class Against(StrEnum):
    """The moment from which RPO is measured."""

    ACKNOWLEDGED = "newest acknowledged record"
    START = "start of the drill"


@dataclass(frozen=True, slots=True)
class Rpo:
    """What would be lost, as an age: see the module. None where the records carry no time."""

    seconds: float | None = None
    alone: float | None = None
    against: Against = Against.START


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One drill. Numbers are of records; `size` in bytes.

    `identity` is the backup's (`Backup.identity`; empty: there was none), `records` what it
    brought, `signed` what the restored log has in the end. `during`: the phase that it ended in,
    when it did not come to its end.

    `altered` records of the backup were not as they were signed or had been taken out of it, at the
    seqs `where`; `added` came from segments. `seed` (hex) is what the backup was drawn with.
    """

    key: str
    ending: Ending
    at: datetime
    reason: str = ""
    identity: str = ""
    choice: Choice = Choice.NAMED
    seed: str = ""
    size: int = 0
    records: int = 0
    signed: int = 0
    added: int = 0
    altered: int = 0
    where: str = ""
    root: str = ""
    rpo: Rpo = Rpo()
    phases: tuple[tuple[Phase, float], ...] = ()
    notes: tuple[str, ...] = ()
    during: Phase | None = None

    @property
    def rto(self) -> float:
        """Seconds of all phases together, as far as they went; of milliseconds, as it is kept."""
        return round(sum(round(seconds, 3) for _, seconds in self.phases), 3)

    @property
    def poisoned(self) -> bool:
        """Whether tampering has reached the backup."""
        return self.altered > 0

    @property
    def proof(self) -> Proof | None:
        """What the catalogue shows beside the backup; None unless it passed."""
        passed = self.ending is Ending.PASSED
        return Proof(self.at, self.rto, self.records) if passed else None

    def chosen(self, choice: Choice, seed: str = "") -> "DrillResult":
        """The same, saying how its backup was chosen."""
        return replace(self, choice=choice, seed=seed)

    def in_full(self) -> str:
        """One sentence with the reason, for the journal alone: what a server says quotes rows."""
        if self.ending is Ending.PASSED:
            return self.summary()
        said = f"{self.key or 'no backup'}: {self.ending.value}: {self.reason}"
        return clean(said, _REASON_LIMIT)

    def summary(self) -> str:
        """One sentence for everybody: how it ended, and where."""
        if self.ending is not Ending.PASSED:
            key = clean(self.key, _KEY_LIMIT) or "no backup"
            where = f" in the phase {self.during.value}" if self.during else ""
            poisoned = ", poisoned" if self.poisoned else ""
            return (
                f"{key}: {self.ending.value}{poisoned}{where}; `runbook drill --history` says why"
            )
        rpo = "unknown" if self.rpo.seconds is None else f"{self.rpo.seconds:.0f} s"
        return (
            f"{clean(self.key, _KEY_LIMIT)}: passed: {self.signed} signed records reproduce the "
            f"signed root, {self.added} of them from segments; RTO {self.rto:.1f} s, RPO {rpo}"
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-able; `from_json` is its inverse."""
        return asdict(self) | {
            "key": clean(self.key, _KEY_LIMIT),
            "reason": clean(self.reason, _REASON_LIMIT),
            "at": self.at.isoformat(),
            "phases": {phase.value: round(seconds, 3) for phase, seconds in self.phases},
            "notes": [clean(each, _NOTE_LIMIT) for each in self.notes[:_NOTES]],
            "during": self.during.value if self.during else "",
            "rto": self.rto,
            "poisoned": self.poisoned,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "DrillResult":
        """Raises BadInput for what `as_json` does not write."""
        try:
            rpo = value["rpo"]
            known = {each.name: value[each.name] for each in fields(cls) if each.name in value}
            return cls(
                **known
                | {
                    "ending": Ending(value["ending"]),
                    "at": datetime.fromisoformat(value["at"]),
                    "choice": Choice(value["choice"]),
                    "rpo": Rpo(rpo["seconds"], rpo["alone"], Against(rpo["against"])),
                    "phases": tuple((Phase(name), took) for name, took in value["phases"].items()),
                    "notes": tuple(value["notes"]),
                    "during": Phase(value["during"]) if value.get("during") else None,
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"expected a drill's result, found {error!r}") from error


def not_drilled(reason: str) -> DrillResult:
    """Nothing was tried, so nothing is known: a drill that silently did not happen is no proof."""
    return DrillResult("", Ending.UNKNOWN, datetime.now(UTC), reason)


def no_backup() -> DrillResult:
    """There is nothing to drill, which is the worst result of all."""
    return DrillResult(
        "", Ending.FAILED, datetime.now(UTC), "expected a backup, found none in any place"
    )


def choose_newest(backups: Iterable[Backup]) -> Backup | None:
    """The newest backup, also when it is unusable: then the drill fails, and says why.

    To pass over it in silence would prove an older one and let everybody believe in the newest. So
    where a place could not tell what it has, that place is the answer: nobody knows the newest.
    """
    every = list(backups)
    newest = max(_candidates(every), key=_age, default=None)
    for each in every:
        if each.away and (newest is None or each.taken_at is None or _age(each) > _age(newest)):
            return each
    return newest


def choose_older(backups: Iterable[Backup], seed: bytes) -> Backup | None:
    """One of the usable backups that are not the newest, the same for the same seed.

    Without any the newest: what is there is tried.
    """
    known = _candidates(backups)
    newest = choose_newest(known)
    older = sorted((each for each in known if each != newest and not each.unusable), key=_age)
    if not older:
        return newest
    drawn = int.from_bytes(hashlib.sha256(seed).digest(), "big")
    return older[drawn % len(older)]


def choose_named(backups: Iterable[Backup], key: str) -> Backup:
    """The backup of this key. Raises BadInput when there is none, or more than one."""
    found = [each for each in backups if each.key == key]
    if len(found) != 1:
        raise BadInput(
            f"expected one backup with the key {key[:200]!r}, found {len(found)}: "
            "`runbook restore --list` shows the keys"
        )
    return found[0]


def _candidates(backups: Iterable[Backup]) -> list[Backup]:
    """What may be tried; without anything usable also what is no backup at all."""
    known = [each for each in backups if each.kind is not Kind.REPOSITORY]
    dated = [each for each in known if each.taken_at is not None]
    return [each for each in dated if not _is_stray(each)] or dated or known


def _is_stray(backup: Backup) -> bool:
    """An object that lies among the backups and is none, as far as anybody can see.

    One that was signed, or is called like a dump, is a backup that is broken.
    """
    unknown = bool(backup.unusable) and backup.format is Format.UNKNOWN
    return unknown and not backup.trusted and not _CALLED_A_DUMP.search(backup.key)


def _age(backup: Backup) -> tuple[datetime, int, str]:
    return backup.taken_at or _NEVER, backup.log_size, backup.key
