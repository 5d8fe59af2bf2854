"""How long a restore will take and how much disk it needs, before it begins; pure.

Time comes from the last drill where there is one, scaled by size. The rates below stand in for it
until then; they are cautious ones of a small machine, and the plan says that nothing was measured.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.backups import Backup, Format, Kind
from tasks.domain.errors import Refused

FETCH_RATE = 30e6
"""Bytes a second out of the object store."""

LOAD_RATE = 15e6
"""Bytes a second of database that pg_restore loads, indexes included."""

PROOF_RATE = 150_000.0
"""Records a second that are hashed and compared."""

_STEPS_SECONDS = 15.0  # what takes time whatever the size is: connecting, locking, proving twice
_GROWTH = 4  # a compressed dump grows about so much; measured 3.4 for the audit log
_SPARE = 64 * 1024 * 1024
_ARCHIVES = frozenset({Format.CUSTOM, Format.DIRECTORY, Format.TAR})


class Basis(StrEnum):
    """What an estimate of time rests on, as a plan says it."""

    OWN_DRILL = "as this backup's own drill took"
    OTHER_DRILL = "by the last drill of another backup, scaled by size"
    RULE = "by rule of thumb: no drill has run"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds to the proof of the restored database, and bytes that must be free here and there.

    The server's need is for the new database beside production. Carrying over, reconciling and
    swapping come after the proof, and depend on what production holds and writes by then.
    """

    seconds: float
    here_bytes: int
    server_bytes: int
    basis: Basis = Basis.RULE

    def __str__(self) -> str:
        """In one sentence, for the plan."""
        return (
            f"about {duration(self.seconds)} to the proof ({self.basis}), then the carry-over, "
            f"other tables and the swap; {size(self.here_bytes)} of disk here, "
            f"{size(self.server_bytes)} on the database server"
        )


def estimate(
    backup: Backup, head_size: int, database_bytes: int | None, backups: Iterable[Backup] = ()
) -> Estimate:
    """What restoring `backup` to `head_size` records takes.

    `database_bytes`: size of production, None when it is gone; `backups`: the catalogue, whose
    proven ones tell how fast a drill was.
    """
    whole = max(database_bytes or 0, backup.size * _GROWTH)
    here = backup.size + _SPARE
    if needs_instance(backup):
        here += whole * 2 + backup.size  # the instance, and the archive that is made of it
    seconds = _STEPS_SECONDS + backup.size / FETCH_RATE + whole / LOAD_RATE
    seconds += head_size / PROOF_RATE
    if needs_instance(backup):
        seconds += 2 * whole / LOAD_RATE
    drilled, basis = _of_drill(backup, backups)
    return Estimate(drilled or seconds, here, whole + _SPARE, basis)


def needs_instance(backup: Backup) -> bool:
    """Whether it goes through a throw-away instance: only a signed archive of ours does not."""
    is_archive = backup.kind is Kind.DUMP and backup.format in _ARCHIVES and not backup.layers
    return not (backup.trusted and is_archive)


def require_room(needed: int, free: int, where: str) -> None:
    """Raise Refused when there is less room than the restore needs; nothing has begun then."""
    if free < needed:
        raise Refused(
            f"expected {size(needed)} free in {where} for the restore, found {size(free)}: make "
            "room or set TMPDIR to a larger place; nothing was begun"
        )


def _of_drill(backup: Backup, backups: Iterable[Backup]) -> tuple[float, Basis]:
    """Seconds of this backup's own drill, else of the newest one of its kind, scaled by size."""
    if backup.proven is not None:
        return backup.proven.seconds, Basis.OWN_DRILL
    alike = [each for each in backups if each.proven and each.size and each.kind is backup.kind]
    if not alike:
        return 0.0, Basis.RULE
    last = max(alike, key=lambda each: each.proven.at.timestamp() if each.proven else 0.0)
    scale = max(1.0, backup.size / last.size)
    return (last.proven.seconds * scale if last.proven else 0.0), Basis.OTHER_DRILL


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 100:  # noqa: PLR2004
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004


def size(count: int) -> str:
    """`12 kB`, `340 MB` or `1.2 GB`."""
    for unit, scale in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1000:.3g} kB"
