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
from tasks.clients.errors import Denied, Malformed
from tasks.clients.local_errors import DiskFull
from tasks.clients.local_folder import LocalFolder, open_folder
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Layout, Status, Trust, Verdict, combine
from tasks.domain.ledger.legacy_keys import LegacyKey
from tasks.domain.ledger.verdicts import INFORMATIONAL
from tasks.domain.local_paths import OWN_PREFIX
from tasks.sections.systems import StoreSettings
from tasks.work.comparisons import compare_with_anchor
from tasks.work.legacy import verify_legacy
from tasks.work.local_copies import LocalCopies
from tasks.work.log_files import LogStore
from tasks.work.log_mirror import Done, Mirrored, mirror
from tasks.work.log_versions import LogVersions
from tasks.work.recovery_layout import layout_of, versions_of
from tasks.work.recovery_mends import (
    Mends,
    Table,
    Target,
    hidden_heads,
    mend_legacy,
    mend_sealed,
)
from tasks.work.recovery_sources import Copy, Manifest, Source, find_manifest, newest_copy
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

    `table_dsn`: where records are looked for that no segment has. `unread`: why no head of ours is
    among the notes. The rest is for a legacy log, as `verify_legacy` takes it; `manifest` instead
    of the one beside the copy.
    """

    trust: Trust | None = None
    table_dsn: str = ""
    notes: tuple[str, ...] = ()
    unread: str = ""
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
            "refused_count": done.refused_count,
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
        copy = newest_copy(reader, store, source)
        day = copy.source.day  # of its own: tomorrow's copy is another log, not a change of this
        place = target_dir / day if day else target_dir
        with _target(place, dry_run=dry_run) as folder:
            state = RecoveryState(folder, str(copy.source))
            try:
                prefix = copy.source.prefix
                done = mirror(reader, prefix, folder, state, watch.brought, dry_run=dry_run)
                run = _Run(copy, place, folder, state, store, proof, done)
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
    copy: Copy
    target: Path
    folder: LocalFolder
    state: RecoveryState
    store: StoreSettings
    proof: Proof
    done: Mirrored

    def plan(self) -> Recovery:
        """What would be brought, and whether there is room for it."""
        if not self.done.log_files:
            versions, _ = versions_of(self.store, self.copy.source.bucket, self.copy.source.prefix)
            layout_of(self.copy.source, self.folder.walk(), versions)
        free = self.folder.free_bytes()
        short = self.done.fetched_bytes - free
        reason = f"{short:,} bytes of room are missing in the target" if short > 0 else ""
        return self._ended(Ending.PLANNED, reason)

    def finish(self, hashed: Hashed | None) -> Recovery:
        """Put right and prove what was brought."""
        if self.done.stopped:
            return self._ended(Ending.STOPPED, self.done.stopped)
        target, source = Target(self.folder, self.state), self.copy.source
        try:
            versions, refused = versions_of(self.store, source.bucket, source.prefix)
            layout = layout_of(source, target.log.paths(""), versions)
            versions = self._with_local(versions)
            finish = self._legacy if layout is Layout.LEGACY else self._sealed
            return finish(target, versions, refused, hashed)
        except DiskFull as error:
            return self._ended(Ending.STOPPED, str(error))
        except (Denied, Malformed) as error:
            return self._ended(Ending.UNCLEAR, f"brought, and not proven: {error}")
        except BadInput as error:
            if not self.done.failed:
                raise
            # what could not be brought stands in the way of the proof too
            return self._ended(Ending.UNCLEAR, f"brought in part, and not proven: {error}")

    def _with_local(self, versions: LogVersions) -> LogVersions:
        moved = (new for _, new in self.done.aside)
        missed = {each.path for each in self.done.failed}
        return LocalCopies(versions, self.folder, [*self.done.extra, *moved], missed)

    def _sealed(
        self, target: Target, versions: LogVersions, refused: str, hashed: Hashed | None
    ) -> Recovery:
        trust = self.proof.trust
        if trust is None:
            return self._ended(
                Ending.UNCLEAR,
                "brought, but nothing is proven: nobody is named whose signatures count; give "
                "--trust, or set RUNBOOK_LEDGER__TRUST_FILE",
            )
        notes = self.proof.kept_heads
        hidden = hidden_heads(target, trust, versions, notes)
        verdict = verify_restored(target.log, trust, notes, hashed, self.proof.workers)
        mends = Mends()
        if hidden or any(each.code not in INFORMATIONAL for each in verdict.findings):
            table = Table(self.proof.table_dsn)
            mends = mend_sealed(target, trust, versions, table.read, notes)
            refused = "; ".join(part for part in (refused, table.unreachable) if part)
            if mends.put:
                verdict = verify_restored(target.log, trust, notes, hashed, self.proof.workers)
        bound = ""
        if verdict.status is Status.VERIFIED and not (notes or versions.are_kept()):
            bound = (
                f"up to the head of {verdict.signed} records; nothing shows that there was no newer"
                " one: no kept head was given, and the bucket shows no older versions"
            )
        said = (verdict.reason, mends.unclear, bound, refused, self.proof.unread)
        return self._judged(verdict, mends, "; ".join(part for part in said if part))

    def _legacy(
        self, target: Target, versions: LogVersions, refused: str, hashed: Hashed | None
    ) -> Recovery:
        given = self.proof.manifest
        manifest = (
            Manifest(given, covers_all=True, origin="the manifest that was given", is_outside=True)
            if given is not None
            else find_manifest(self.store, self.copy.source)
        )
        mends = mend_legacy(target, versions, manifest)
        verdict = verify_legacy(
            target.log,
            public_key=self.proof.public_key,
            password=self.proof.password,
            manifest=manifest.digests if manifest and manifest.covers_all else None,
            is_outside=manifest is not None and manifest.is_outside,
            head=self.proof.head,
            progress=hashed,
            workers=self.proof.workers,
        )
        beside = ""
        if manifest is not None and not manifest.is_outside:
            beside = (
                "the manifest lies in the bucket of the copy, where whoever can write one can write"
                " the other: give --manifest or --head as somebody outside has kept it"
            )
        reason = "; ".join(part for part in (verdict.reason, beside, refused) if part)
        return self._judged(verdict, mends, reason, manifest.origin if manifest else "")

    def _judged(self, verdict: Verdict, mends: Mends, reason: str, manifest: str = "") -> Recovery:
        self.folder.sync()
        is_lost = mends.lost or mends.lost_files or verdict.status is Status.TAMPERED
        if is_lost and self.done.log_files_left:
            ending = Ending.UNCLEAR
            reason = (
                f"{self.done.log_files_left} objects of the log could not be brought, so what is "
                f"missing or altered here need not be so in the store; {reason}"
            )
        elif is_lost:
            ending = Ending.LOST
        elif verdict.status is not Status.VERIFIED or mends.unclear:
            ending = Ending.UNCLEAR
        elif self.done.refused_count or self.done.failed:
            ending = Ending.UNCLEAR
            reason = (
                f"the log is verified, but {self.done.refused_count} keys were refused and "
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
            source=self.copy.source,
            target=self.target,
            mirrored=self.done,
            verdict=verdict,
            mends=mends or Mends(),
            reason="; ".join(part for part in (reason, self.copy.doubt) if part),
            free_bytes=self.folder.free_bytes(),
            days=self.copy.days,
            manifest=manifest,
        )


@contextmanager
def _target(directory: Path, *, dry_run: bool) -> Iterator[LocalFolder]:
    """The directory, which a dry run only looks at; one that is not there has a stand-in beside."""
    if not dry_run or directory.exists():
        with open_folder(directory, fill=not dry_run) as folder:
            yield folder
        return
    parent = next(each for each in directory.absolute().parents if each.is_dir())
    with (
        TemporaryDirectory(prefix=OWN_PREFIX, dir=parent) as beside,
        open_folder(Path(beside)) as folder,
    ):
        yield folder
