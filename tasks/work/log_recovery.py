"""Audit-log recovery: a log of the store, brought into a directory, made whole and proven there.

Like `aws s3 sync`, but by digest and resumable. What was deleted or overwritten comes from the
version that the signed tree proves, what is in no version from the table; what remains lost is an
exact list. The source is only read. In the target nothing is deleted, and what is not ours is not
written over.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.clients.bulk import BulkReader
from tasks.clients.errors import ClientError, Denied
from tasks.clients.local_folder import DiskFull, LocalFolder, open_folder
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Status, Trust, Verdict, combine
from tasks.domain.ledger.legacy_keys import LegacyKey
from tasks.domain.ledger.legacy_manifest import log_path
from tasks.domain.ledger.verdicts import INFORMATIONAL
from tasks.domain.local_paths import OWN_PREFIX, is_of_a_log
from tasks.settings import StoreSettings
from tasks.work.comparisons import compare_with_anchor
from tasks.work.legacy import is_legacy, verify_legacy
from tasks.work.log_files import LogStore
from tasks.work.log_mirror import Done, Mirrored, mirror
from tasks.work.log_versions import LogVersions, NoVersions, ObjectLogVersions
from tasks.work.rebuilding import table_source
from tasks.work.recovery_mends import Mends, Target, hidden_heads, mend_legacy, mend_sealed
from tasks.work.recovery_sources import Manifest, Source, find_manifest, newest_copy
from tasks.work.recovery_state import RecoveryState
from tasks.work.trusted import Progress as Hashed
from tasks.work.verification import verify_log


class Ending(StrEnum):
    """How a recovery ended."""

    VERIFIED = "verified"
    LOST = "lost or tampered"
    UNCLEAR = "could not tell"
    STOPPED = "stopped: the disk is full"
    PLANNED = "only planned"


@dataclass(frozen=True, slots=True)
class Watch:
    """Whoever shows the progress: files as they come, records as they are hashed."""

    brought: Callable[[Done], None] | None = None
    hashed: Hashed | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """By what the recovered log is judged. Without `trust` a sealed log is brought, not proven.

    `table_dsn`: where records are looked for that no segment has. The rest is for a legacy log, as
    `verify_legacy` takes it; `manifest` instead of the one beside the copy.
    """

    trust: Trust | None = None
    table_dsn: str = ""
    notes: tuple[str, ...] = ()
    public_key: LegacyKey | None = None
    password: bytes | None = None
    manifest: dict[str, str] | None = None
    head: str | None = None
    workers: int = 1

    @property
    def kept_heads(self) -> tuple[str, ...]:
        """Notes of heads that others kept; the log must continue each of them."""
        anchor = self.trust.anchor if self.trust is not None else ""
        return (*self.notes, anchor) if anchor else self.notes


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was done, and what is proven of it. `days`: copies by day that there are."""

    ending: Ending
    source: Source
    target: Path
    mirrored: Mirrored
    verdict: Verdict | None = None
    mends: Mends = field(default_factory=Mends)
    reason: str = ""
    free_bytes: int = 0
    days: tuple[str, ...] = ()
    manifest: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for `--json` and the flow."""
        done = self.mirrored
        return {
            "ending": self.ending.value,
            "reason": self.reason,
            "source": str(self.source),
            "target": str(self.target),
            "fetched": done.fetched,
            "fetched_bytes": done.fetched_bytes,
            "unchanged": done.unchanged,
            "unchanged_bytes": done.unchanged_bytes,
            "refused": [each.as_json() for each in done.refused],
            "failed": [{"path": each.path, "reason": each.reason} for each in done.failed],
            "set_aside": [{"path": old, "now": new} for old, new in done.aside],
            "extra": done.extra,
            "no_longer_listed": done.gone,
            "free_bytes": self.free_bytes,
            "days": list(self.days),
            "manifest": self.manifest,
            "put_right": [
                {"path": one.path, "why": one.why, "source": one.source} for one in self.mends.put
            ],
            "lost": [[first, end - 1] for first, end in self.mends.lost],
            "lost_files": list(self.mends.lost_files),
            "left": list(self.mends.left),
            "verdict": self.verdict.as_json() if self.verdict else None,
        }


def recover(
    source: Source,
    target_dir: Path,
    store: StoreSettings,
    proof: Proof,
    *,
    progress: Watch | None = None,
    dry_run: bool = False,
) -> Recovery:
    """Bring, put right and prove a log; with `dry_run` only say what would be brought.

    Raises Transient, Denied and NotFound when the store cannot be read, Conflict while another
    process fills the same directory, BadInput for a source without a single object.
    """
    watch = progress or Watch()
    reader = BulkReader(store, source.bucket)
    try:
        found, days = newest_copy(reader, source)
        with _target(target_dir, dry_run=dry_run) as folder:
            state = RecoveryState(folder, str(found))
            try:
                done = mirror(reader, found.prefix, folder, state, watch.brought, dry_run=dry_run)
                run = _Run(found, target_dir, tuple(days), folder, state, store, proof, done)
                return run.plan() if dry_run else run.finish(watch.hashed)
            finally:
                state.close()
    finally:
        reader.close()


def verify_restored(
    log: LogStore,
    trust: Trust,
    notes: Sequence[str] = (),
    hashed: Hashed | None = None,
    workers: int = 1,
) -> Verdict:
    """All of a sealed log, which must also continue every head that somebody kept."""
    verdict = verify_log(log, trust, hashed, workers=workers)
    size = verdict.signed if verdict.root else None
    kept = [trust.open_signed(note).checkpoint for note in notes]
    others = [compare_with_anchor(log, trust, each, size=size) for each in kept]
    return combine(verdict, *others) if others else verdict


@dataclass(frozen=True, slots=True)
class _Run:
    source: Source
    target: Path
    days: tuple[str, ...]
    folder: LocalFolder
    state: RecoveryState
    store: StoreSettings
    proof: Proof
    done: Mirrored

    def plan(self) -> Recovery:
        """What would be brought, and whether there is room for it."""
        free = self.folder.free_bytes()
        short = self.done.fetched_bytes - free
        reason = f"{short:,} bytes of room are missing in the target" if short > 0 else ""
        return self._ended(Ending.PLANNED, reason)

    def finish(self, hashed: Hashed | None) -> Recovery:
        """Put right and prove what was brought."""
        if self.done.stopped:
            return self._ended(Ending.STOPPED, self.done.stopped)
        target = Target(self.folder, self.state)
        try:
            if is_legacy(target.log) or (not self.done.files and self._was_legacy()):
                return self._legacy(target, hashed)
            return self._sealed(target, hashed)
        except DiskFull as error:
            return self._ended(Ending.STOPPED, str(error))
        except BadInput as error:
            if not self.done.failed:
                raise
            # what could not be brought stands in the way of the proof too
            return self._ended(Ending.UNCLEAR, f"brought in part, and not proven: {error}")

    def _sealed(self, target: Target, hashed: Hashed | None) -> Recovery:
        trust = self.proof.trust
        if trust is None:
            return self._ended(
                Ending.UNCLEAR,
                "brought, but nothing is proven: nobody is named whose signatures count; give "
                "--trust, or set RUNBOOK_LEDGER__TRUST_FILE",
            )
        versions, refused = self._versions()
        notes = self.proof.kept_heads
        hidden = hidden_heads(target, trust, versions, notes)
        verdict = verify_restored(target.log, trust, notes, hashed, self.proof.workers)
        mends = Mends()
        if hidden or any(each.code not in INFORMATIONAL for each in verdict.findings):
            table = _Table(self.proof.table_dsn)
            mends = mend_sealed(target, trust, versions, table.read, notes)
            refused = "; ".join(part for part in (refused, table.unreachable) if part)
            if mends.put:
                verdict = verify_restored(target.log, trust, notes, hashed, self.proof.workers)
        reason = "; ".join(part for part in (mends.unclear or verdict.reason, refused) if part)
        return self._judged(verdict, mends, reason)

    def _legacy(self, target: Target, hashed: Hashed | None) -> Recovery:
        given = self.proof.manifest
        manifest = (
            Manifest(given, covers_all=True, origin="the manifest that was given")
            if given is not None
            else find_manifest(self.store, self.source)
        )
        versions, refused = self._versions()
        mends = mend_legacy(target, versions, manifest)
        verdict = verify_legacy(
            target.log,
            public_key=self.proof.public_key,
            password=self.proof.password,
            manifest=manifest.digests if manifest and manifest.covers_all else None,
            head=self.proof.head,
            progress=hashed,
            workers=self.proof.workers,
        )
        reason = "; ".join(part for part in (verdict.reason, refused) if part)
        return self._judged(verdict, mends, reason, manifest.origin if manifest else "")

    def _was_legacy(self) -> bool:
        """Of a source that shows no object: whether the versions behind are of a legacy log."""
        versions, _ = self._versions()
        paths = [each.path for each in versions.below("") if is_of_a_log(each.path)]
        if not paths and not self.done.gone:
            raise BadInput(
                f"{self.source}: expected the objects of a log, found none, nor older versions of "
                "any: is the prefix right?"
            )
        return bool(paths) and all(log_path(path) for path in paths)

    def _versions(self) -> tuple[LogVersions, str]:
        """The source's versions; none, with the reason, when we may not see them."""
        versions = ObjectLogVersions(self.store, self.source.bucket, self.source.prefix)
        try:
            versions.below("checkpoints/")
        except Denied:
            return NoVersions(), (
                "older versions were not looked at: grant s3:ListBucketVersions and "
                "s3:GetObjectVersion to find what was deleted or overwritten"
            )
        return versions, ""

    def _judged(self, verdict: Verdict, mends: Mends, reason: str, manifest: str = "") -> Recovery:
        self.folder.sync()
        if mends.lost or mends.lost_files or verdict.status is Status.TAMPERED:
            ending = Ending.LOST
        elif verdict.status is not Status.VERIFIED or mends.unclear:
            ending = Ending.UNCLEAR
        elif self.done.refused or self.done.failed:
            ending = Ending.UNCLEAR
            reason = (
                f"the log is verified, but {len(self.done.refused)} keys were refused and "
                f"{len(self.done.failed)} objects could not be brought"
            )
        else:
            ending = Ending.VERIFIED
        return self._ended(ending, reason, verdict, mends, manifest)

    def _ended(
        self,
        ending: Ending,
        reason: str,
        verdict: Verdict | None = None,
        mends: Mends | None = None,
        manifest: str = "",
    ) -> Recovery:
        return Recovery(
            ending=ending,
            source=self.source,
            target=self.target,
            mirrored=self.done,
            verdict=verdict,
            mends=mends or Mends(),
            reason=reason,
            free_bytes=self.folder.free_bytes(),
            days=self.days,
            manifest=manifest,
        )


@contextmanager
def _target(directory: Path, *, dry_run: bool) -> Iterator[LocalFolder]:
    """The directory; of one that is not there a dry run makes only a stand-in beside it."""
    if not dry_run or directory.exists():
        with open_folder(directory) as folder:
            yield folder
        return
    parent = next(each for each in directory.absolute().parents if each.is_dir())
    with (
        TemporaryDirectory(prefix=OWN_PREFIX, dir=parent) as beside,
        open_folder(Path(beside)) as folder,
    ):
        yield folder


class _Table:
    """Rows for what no segment has; a table that cannot be read has none, and that is told."""

    def __init__(self, dsn: str) -> None:
        self._read = table_source(dsn) if dsn else None
        self.unreachable = ""

    def read(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(seq, line) of the rows."""
        if self._read is None or self.unreachable:
            return
        try:
            yield from self._read(first, end)
        except ClientError as error:
            self.unreachable = f"the table was not looked at: {error}"[:500]
