"""A backup into a scratch database beside production, mended from the segments, proven.

Production is not touched. The scratch database counts only when its mark says `restored` for this
very backup; a half-loaded one of this incident is dropped and made anew. What is believed in the
end is neither the dump nor the mark but the proof: every signed record hashes to the signed root.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres, postgres_admin
from tasks.clients.errors import NotFound
from tasks.domain.backups import Backup
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Verdict
from tasks.domain.pace import Told, pace
from tasks.work.log_heads import Head, latest_head
from tasks.work.mending import (
    Mended,
    SignedRow,
    drop_spare,
    made_exact,
    proven,
    require_grants,
    require_table,
    set_aside_newer,
    signed_rows,
)
from tasks.work.recovery import Fence, Mark, Site, Stage, has_readable_table
from tasks.work.scratch_database import Dump, loaded
from tasks.work.trusted import Progress

SERVED = -1
"""Instead of the oid of the database that is to be replaced: that is done."""

PROVING = "comparing with the signed log"
"""What is told once the restore itself is done."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A scratch database that holds exactly the signed log (and perhaps a tail already).

    `replaced` are records of the backup that were not as signed, `added` those that it lacked;
    both came from segments or, where the signed leaf proves them, from the damaged table. `notes`:
    what could not be checked or restored, and what a person should mend. `replaces`: the oid of
    the living database beside which it stands (None: it is gone), or SERVED after the swap.
    """

    database: str
    backup: Backup
    signed: int
    replaced: int
    added: int
    settings_left: tuple[str, ...]
    verdict: Verdict
    notes: tuple[str, ...] = ()
    replaces: int | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal and the report."""
        return {
            "database": self.database,
            "backup": self.backup.key,
            "backup_sha256": self.backup.sha256,
            "backup_size": self.backup.log_size,
            "signed": self.signed,
            "replaced": self.replaced,
            "from_segments": self.added,
            "settings_left": list(self.settings_left),
            "verified": True,
            "root": self.verdict.root,
        }


def restore_beside(
    site: Site,
    backup: Backup,
    archive: Path,
    head: Head,
    fence: Fence,
    *,
    rows: Mapping[str, int] | None = None,
    told: Told | None = None,
) -> Restored:
    """Make, or find again, the proven scratch database of this incident.

    After the swap it is production: then that is proven again and nothing is made.

    `archive` (custom, directory or tar) comes from `archive_for`, `head` from `latest_head`; `rows`
    are those that the archive must bring, where somebody counted them. Raises NotProven when the
    restored database is unsound, when the head is refused by the anchor, when a signed record can
    be had from nowhere (naming the ranges) or when the result does not verify; Malformed for an
    archive that cannot be read; Conflict when another's database stands under the scratch name.
    Production is untouched in every case.
    """
    _require_trusted(site, head)
    size = head.checkpoint.size
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        served = postgres_admin.databases(admin, [site.names.production])
        if any(site.is_ours(state, Stage.IN_SERVICE) for state in served.values()):
            verdict = proven(site.dsn_of(site.names.production), site.log, site.trust, head)
            return Restored(site.names.production, backup, size, 0, 0, (), verdict, replaces=SERVED)
        dump = Dump(backup, archive, rows or {}, told)
        mark, left, notes = loaded(site, admin, dump, size, fence)
        mended, verdict = _complete(site, admin, mark, head, fence, _proof_told(told))
    return Restored(
        site.names.scratch,
        backup,
        size,
        mended.replaced,
        mended.added,
        tuple(left),
        verdict,
        tuple(notes),
        mark.production,
    )


def catch_up(site: Site, admin: Connection[TupleRow], mark: Mark, fence: Fence) -> None:
    """Complete the restored scratch database to the newest head and prove it again.

    The log may have been sealed further since the restore. Nothing is done when it was not.
    Raises NotProven as `restore_beside` does; production is untouched.
    """
    head = latest_head(site.log, site.trust)
    if not mark.is_at(head):
        _require_trusted(site, head)
        _complete(site, admin, mark, head, fence)


def _require_trusted(site: Site, head: Head) -> None:
    if head.refused:
        raise NotProven(
            f"expected the newest checkpoint to verify, found {head.refused[0].detail}: newer "
            "heads than the usable one exist; find out who wrote them before restoring"
        )
    site.anchored(head)


def _complete(
    site: Site,
    admin: Connection[TupleRow],
    mark: Mark,
    head: Head,
    fence: Fence,
    progress: Progress | None = None,
) -> tuple[Mended, Verdict]:
    """The scratch database, made exact up to the head and marked.

    Rows beyond the head wait beside the log, for the carry-over to judge them (again): what it
    wrote there went by a shorter head.
    """
    size = head.checkpoint.size
    if size < mark.signed:
        raise NotProven(
            f"expected a signed head of at least {mark.signed} records, which {site.names.scratch} "
            f"was restored to, found {size}: checkpoints were removed; production is untouched"
        )
    with postgres.connect(
        site.dsn_of(site.names.scratch), timeout_seconds=site.timeout_seconds
    ) as scratch:
        require_table(scratch, mark.backup)
        fence()  # loading took long: whoever has taken over may have made it anew
        if mark.stage is Stage.RESTORING:
            drop_spare(scratch)
        if mark.stage is Stage.RESTORING or size > mark.signed:
            set_aside_newer(scratch, size)
        require_grants(scratch, site.needed)
        scratch.execute("ANALYZE public.audit_records")
        mended, verdict = made_exact(
            scratch,
            site.dsn_of(site.names.scratch),
            site.log,
            site.trust,
            head,
            lambda *wanted: _from_production(site, *wanted),
            progress=progress,
        )
    fence()
    done = replace(mark, stage=Stage.RESTORED, signed=size, root=head.checkpoint.root.hex())
    postgres_admin.comment_on(admin, site.names.scratch, done.text())
    return mended, verdict


def _proof_told(told: Told | None) -> Progress | None:
    """Progress in records, told as a pace; at once, so that people see that it began."""
    if told is None:
        return None
    began = time.monotonic()
    told(pace(PROVING, 0, 0, 0))
    return lambda done, due: told(pace(PROVING, done, due, time.monotonic() - began))


def _from_production(site: Site, leaves: bytes, wanted: bytearray) -> Iterator[SignedRow]:
    """Wanted records that the damaged table still holds as signed."""
    try:
        with postgres.connect(
            site.dsn_of(site.names.production),
            timeout_seconds=site.timeout_seconds,
            autocommit=False,
        ) as production:
            postgres.only_read(production)
            if has_readable_table(production):
                yield from signed_rows(production, leaves, wanted)
    except NotFound:
        return
