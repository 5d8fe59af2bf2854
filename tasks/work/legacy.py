"""Verifying a log as rlhf-audit-trail 0.1 wrote it: one file an event, in a directory or bucket.

    [audit_logs/]<session>/events/<event id>.json      [audit_logs/]<session>/chains/chain_<ms>.json

Files are read in chunks and only what links them is kept. Names that no logger writes are listed
and never opened.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from random import SystemRandom

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.ledger import Code, Finding, Layout, RecordError, Status, Verdict
from tasks.domain.ledger.legacy_audit import Judgement, LegacyAudit
from tasks.domain.ledger.legacy_events import MAX_EVENT_BYTES, LegacyEvent
from tasks.domain.ledger.legacy_flushes import MAX_FLUSH_BYTES, parse_flush
from tasks.domain.ledger.legacy_keys import (
    ENVELOPE_BYTES,
    DecryptionError,
    LegacyKey,
    decrypt,
    looks_encrypted,
)
from tasks.domain.ledger.legacy_manifest import log_path, parse_heads
from tasks.domain.ledger.legacy_shapes import EventReader
from tasks.work.log_files import LogStore
from tasks.work.trusted import Progress

MAX_FILES = 1_000_000

_CHUNK = 256
_SAMPLE = 16
_SIGNATURES = 64
_NAMED = 5
_ROOT = "audit_logs/"


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the log: `path` in the store; session, kind and name without .json."""

    path: str
    session: str
    kind: str
    name: str

    @classmethod
    def of(cls, path: str) -> "_File | None":
        known = log_path(path)
        if known is None or path.removeprefix(_ROOT) != known:
            return None
        session, kind, name = known.split("/")
        return cls(path, session, kind, name.removesuffix(".json"))

    @property
    def known(self) -> str:
        """The path that manifests are compared by."""
        return self.path.removeprefix(_ROOT)

    @property
    def limit(self) -> int:
        """Bytes at most, encrypted."""
        return (MAX_EVENT_BYTES if self.kind == "events" else MAX_FLUSH_BYTES) + ENVELOPE_BYTES


def is_legacy(files: LogStore) -> bool:
    """Whether the log is in the legacy layout: session folders, and nothing sealed."""
    if files.paths("checkpoints/") or files.paths("seg/"):
        return False
    return any(_File.of(path) is not None for path in files.paths(""))


def verify_legacy(
    files: LogStore,
    *,
    public_key: LegacyKey | None,
    password: bytes | None,
    manifest: Mapping[str, str] | None = None,
    is_outside: bool = True,
    head: str | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> Verdict:
    """Every event and chain file. `manifest`: what `parse_manifest` gave; `workers`: threads.

    `is_outside`: nobody who can write the log can write the manifest; else it confirms no end.

    `head`: the last event's hash as somebody outside knows it; after restarts the last one of each
    chain, separated by commas. Memory: some 400 bytes an event. BadInput for an encrypted log
    without `password`; errors of reaching the store (Transient, Denied) are raised.
    """
    began = time.perf_counter()
    heads = frozenset[bytes]() if head is None else parse_heads(head)
    known, odd = _listed(files)
    run = _Run(files, LegacyAudit(files.source, public_key is not None), public_key, password)
    if odd:
        named = ", ".join(ascii(path)[:90] for path in sorted(odd)[:_NAMED])
        run.audit.add(Code.STRAY, f"not written by a logger and not read: {named}", count=len(odd))
    refusal = _sampled(run, known)
    if refusal is not None:
        finding = Finding(Code.UNPROVEN, files.source, None, len(known), refusal)
        outcome = Judgement(Status.UNVERIFIABLE, refusal, (finding,), 0, 0, "")
        return _verdict(files, outcome, run, began)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done in run.read(known, manifest, pool):
            if progress is not None:
                progress(done, len(known))
    if manifest is not None:
        for path in sorted(manifest.keys() - {path.removeprefix(_ROOT) for path in known}):
            run.audit.add(Code.DELETED, f"{path} is in the manifest and not here")
    outcome = run.audit.finish(heads=heads, is_whole=manifest is not None and is_outside)
    return _verdict(files, outcome, run, began)


def _verdict(files: LogStore, outcome: Judgement, run: "_Run", began: float) -> Verdict:
    return Verdict(
        status=outcome.status,
        source=files.source,
        records=outcome.events,
        signed=outcome.signed,
        findings=outcome.findings,
        root=outcome.root,
        seconds=time.perf_counter() - began,
        bytes=run.size,
        reason=outcome.reason,
        layout=Layout.LEGACY,
    )


def _listed(files: LogStore) -> tuple[list[str], list[str]]:
    """The paths of the log's files, and other paths."""
    known: list[str] = []
    odd: list[str] = []
    for path in files.paths(""):
        (odd if _File.of(path) is None else known).append(path)
    if len(known) > MAX_FILES:
        raise BadInput(f"{files}: expected at most {MAX_FILES} files of a log, found {len(known)}")
    if not known:
        raise BadInput(f"{files}: expected <session>/events/<event id>.json, found no such file")
    return known, odd


def _files(paths: Iterable[str]) -> list[_File]:
    return [file for file in map(_File.of, paths) if file is not None]


def _sampled(run: "_Run", known: list[str]) -> str | None:
    """Why nothing can be said, going by a few files at random; None when it can.

    A wrong password fails on every file, damage on some. At random, so that nobody can prepare the
    few files that would pass a damaged log off as one with another password.
    """
    sample = _files(SystemRandom().sample(known, min(_SAMPLE, len(known))))
    stored = [data for _, data in run.stored(sample) if isinstance(data, bytes)]
    sealed = [data for data in stored if looks_encrypted(data)]
    if not stored or not sealed:
        return None
    if run.password is None:
        if len(sealed) * 2 <= len(stored):
            return None
        raise BadInput(
            f"{run.files}: {len(sealed)} of {len(stored)} files looked at are encrypted;"
            " give the log's password with --password-file"
        )
    if len(sealed) < len(stored) or any(_opens(data, run.password) for data in sealed):
        return None
    return (
        f"none of {len(stored)} files looked at can be decrypted: another password than the log's"
    )


def _opens(stored: bytes, password: bytes) -> bool:
    try:
        return decrypt(stored, password).startswith(b"{")
    except DecryptionError:
        return False


@dataclass(slots=True)
class _Run:
    """One verification in the making; `size` is the bytes read."""

    files: LogStore
    audit: LegacyAudit
    key: LegacyKey | None
    password: bytes | None
    size: int = 0
    _reader: EventReader = field(default_factory=EventReader)

    def read(
        self, known: list[str], manifest: Mapping[str, str] | None, pool: Executor
    ) -> Iterator[int]:
        """Read all files; yields how many are done, a chunk at a time."""
        remaining, done = iter(known), 0
        while chunk := _files(islice(remaining, _CHUNK)):
            readable: list[tuple[_File, bytes]] = []
            for file, data in self.stored(chunk):
                if isinstance(data, bytes):
                    self.size += len(data)
                    self._compare(file, data, manifest)
                    readable.append((file, data))
                else:
                    self._refuse(file, data)
            texts = pool.map(self._text, [data for _, data in readable])
            self._take(list(zip([file for file, _ in readable], texts, strict=True)), pool)
            done += len(chunk)
            yield done

    def stored(self, chunk: list[_File]) -> Iterator[tuple[_File, bytes | RunbookError]]:
        """The bytes of files, many at once; one by one when one of them cannot be read."""
        limit = max(file.limit for file in chunk)
        try:
            bodies = list(self.files.read_many([file.path for file in chunk], limit))
        except (BadInput, Malformed, NotFound):
            for file in chunk:
                yield file, self._one(file)
        else:
            yield from zip(chunk, bodies, strict=True)

    def _one(self, file: _File) -> bytes | RunbookError:
        try:
            return self.files.read(file.path, file.limit)
        except (BadInput, Malformed, NotFound) as error:
            return error

    def _compare(self, file: _File, data: bytes, manifest: Mapping[str, str] | None) -> None:
        if manifest is None:
            return
        expected = manifest.get(file.known)
        if expected is None:
            self.audit.add(Code.INSERTED, f"{file.path} is not in the manifest")
        elif hashlib.sha256(data).hexdigest() != expected:
            self.audit.add(Code.MODIFIED, f"{file.path} is not the file that the manifest lists")

    def _refuse(self, file: _File, error: RunbookError) -> None:
        if isinstance(error, NotFound):
            self.audit.add(Code.DELETED, f"{file.path} vanished while the log was read")
        else:
            code = Code.UNPARSEABLE if file.kind == "events" else Code.SEGMENT_TORN
            self.audit.add(code, f"{file.path}: {error}")

    def _text(self, stored: bytes) -> bytes | DecryptionError:
        """Decrypted where it is to be. A plain file in an encrypted log is judged as it is."""
        if self.password is None or not looks_encrypted(stored):
            return stored
        try:
            return decrypt(stored, self.password)
        except DecryptionError as error:
            return error

    def _take(self, chunk: list[tuple[_File, bytes | DecryptionError]], pool: Executor) -> None:
        events: list[tuple[_File, LegacyEvent]] = []
        for file, text in chunk:
            try:
                if isinstance(text, DecryptionError):
                    self._refuse(file, text)
                elif file.kind == "chains":
                    self.audit.add_flush(parse_flush(text, file.path, file.session))
                else:
                    event = self._reader.read_slices(text) or self._reader.parse(text)
                    events.append((file, event))
            except RecordError as error:
                self._refuse(file, error)
        groups = [events[at : at + _SIGNATURES] for at in range(0, len(events), _SIGNATURES)]
        signed = (each for group in pool.map(self._are_signed, groups) for each in group)
        for (file, event), is_signed in zip(events, signed, strict=True):
            self.audit.add_event(event, file.session, file.name, is_signed=is_signed)

    def _are_signed(self, events: list[tuple[_File, LegacyEvent]]) -> list[bool]:
        """A tenth of a millisecond each, and OpenSSL lets other threads go on meanwhile."""
        key = self.key
        return [
            key is not None and key.has_signed(event.stored, event.signature) for _, event in events
        ]
