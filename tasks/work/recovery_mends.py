"""What the newest objects of a source do not give: older versions that are proven, and the table.

Of a sealed log the signed tree says what every file must hold; of a legacy one a manifest does,
and without one a file that was deleted comes back as it was last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from tasks.clients.errors import ClientError, Denied, Malformed, NotFound
from tasks.clients.local_folder import LocalFolder
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Trust
from tasks.domain.ledger.legacy_events import MAX_EVENT_BYTES
from tasks.domain.ledger.legacy_flushes import MAX_FLUSH_BYTES
from tasks.domain.ledger.legacy_keys import ENVELOPE_BYTES
from tasks.domain.local_paths import LEGACY_ROOT, is_of_a_log
from tasks.domain.log_rebuild import Range
from tasks.work.believed_tree import ReadLines
from tasks.work.disk_room import Room
from tasks.work.kept_heads import KeptHeads
from tasks.work.local_copies import set_aside
from tasks.work.log_directory import DirectoryLog
from tasks.work.log_survey import survey
from tasks.work.log_versions import KeptVersion, LogVersions, worth_trying
from tasks.work.older_segments import older_segments
from tasks.work.rebuilding import table_source
from tasks.work.recovery_sources import Manifest
from tasks.work.recovery_state import RecoveryState

_MOST_ROUNDS = 40
_LEGACY_BYTES = max(MAX_EVENT_BYTES, MAX_FLUSH_BYTES) + ENVELOPE_BYTES


@dataclass(frozen=True, slots=True)
class Put:
    """A file that did not come from the newest object, or not only: why, and from where."""

    path: str
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Mends:
    """What was put into the target, and what is in no source as it was written.

    `lost`: records of a sealed log, `first` <= seq < `end`; `lost_files`: of a legacy log.
    `unclear` says why it could not be told what is lost; empty when it could.
    """

    put: tuple[Put, ...] = ()
    lost: tuple[Range, ...] = ()
    lost_files: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unclear: str = ""


class Target:
    """The directory that is being filled, and what is remembered of it."""

    def __init__(self, folder: LocalFolder, state: RecoveryState) -> None:
        self.log = DirectoryLog(folder.root)
        self.state = state
        self._folder = folder
        self._room = Room(folder)

    def digest(self, path: str) -> str | None:
        """SHA-256 (hex) of what lies there now, whatever is remembered; None when nothing does."""
        found = self._folder.look(path)
        return found.sha256 if found is not None else None

    def put(self, path: str, data: bytes) -> None:
        """Write a file whose content is proven, over one that the store has as it is.

        Any other is set aside: what is proven by one head or manifest need not be by the next.
        """
        with self._room.new_file(len(data)) as file:
            file.write(data)
            found = self._folder.look(path)
            if file.content != found:
                if found is not None and self.state.fetched(path) != found.sha256:
                    set_aside(self._folder, path, found)
                self._folder.put(file, path)
        self.state.mended(path, file.content.sha256)


class Table:
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


def hidden_heads(
    target: Target, trust: Trust, versions: LogVersions, notes: Sequence[str]
) -> list[int]:
    """Sizes of checkpoints that the source had once, and that its newest objects do not give."""
    heads = KeptHeads(target.log, trust, versions, notes)
    return [size for size in heads.sizes if size not in heads.stored]


def mend_sealed(
    target: Target,
    trust: Trust,
    versions: LogVersions,
    table: ReadLines,
    notes: Sequence[str] = (),
) -> Mends:
    """Put in every file that the signed tree proves, of whatever source; say what is lost."""
    put: list[Put] = []
    try:
        head = KeptHeads(target.log, trust, versions, notes).newest().checkpoint
        for _ in range(_MOST_ROUNDS):  # a survey names so many objects and no more
            try:
                found, restorer = survey(target.log, trust, versions, table, notes)
            except NotProven:
                if put:
                    raise
                for each in older_segments(target.log, head, versions):
                    target.put(each.path, each.data)
                    put.append(Put(each.path, "of another history", each.source))
                if not put:
                    raise
                continue
            if not found.objects:
                break
            for damaged in found.objects:
                source, data = restorer.content(damaged.path)
                target.put(damaged.path, data)
                put.append(Put(damaged.path, damaged.why.value, source))
    except (NotProven, NotFound) as error:
        return Mends(tuple(put), unclear=str(error)[:1000])
    left = tuple(f"{each.path}: {each.why}" for each in found.left)
    return Mends(tuple(put), found.lost, left=left)


def mend_legacy(target: Target, versions: LogVersions, manifest: Manifest | None) -> Mends:
    """Put in files of a legacy log: those a manifest proves; without one, those deleted."""
    kept = _by_path(versions)
    if manifest is None:
        return _undeleted(target, versions, kept)
    ours = {_known(path): path for path in target.log.paths("") if is_of_a_log(path)}
    wanted = {
        known: digest
        for known, digest in manifest.digests.items()
        if known not in ours or target.digest(ours[known]) != digest
    }
    put: list[Put] = []
    for path in [each for each in kept if _known(each) in wanted]:
        known = _known(path)
        if known in wanted and (found := _proven(versions, kept[path], wanted[known])) is not None:
            version, data = found
            why = "wrong content" if known in ours else "missing"
            target.put(path, data)
            put.append(Put(path, why, f"version {version}, by {manifest.origin}"))
            del wanted[known]
    return Mends(tuple(put), lost_files=tuple(sorted(wanted)))


def _undeleted(target: Target, versions: LogVersions, kept: dict[str, list[KeptVersion]]) -> Mends:
    """A logger deletes nothing: whoever did, the last that was written comes back."""
    put: list[Put] = []
    left: list[str] = []
    for path, known in sorted(kept.items()):
        if not any(each.is_marker and each.is_latest for each in known):
            continue
        last = next((each for each in known if not each.is_marker), None)
        if last is None:
            continue
        try:
            data = versions.read(path, last.version_id, _LEGACY_BYTES)
        except (NotFound, Malformed) as error:
            left.append(f"{path}: was deleted, and its last version cannot be read: {error}"[:500])
            continue
        target.put(path, data)
        put.append(Put(path, "deleted", f"version {last.version_id}, which nothing proves"))
    return Mends(tuple(put), left=tuple(left))


def _proven(
    versions: LogVersions, kept: list[KeptVersion], digest: str
) -> tuple[str, bytes] | None:
    for each in worth_trying(kept, _LEGACY_BYTES):
        try:
            data = versions.read(each.path, each.version_id, _LEGACY_BYTES)
        except (NotFound, Malformed):
            continue
        if sha256(data).hexdigest() == digest:
            return each.version_id, data
    return None


def _by_path(versions: LogVersions) -> dict[str, list[KeptVersion]]:
    """Versions of the log's files, of each the newest first."""
    found: dict[str, list[KeptVersion]] = {}
    try:
        for each in versions.below(""):
            if is_of_a_log(each.path):
                found.setdefault(each.path, []).append(each)
    except Denied:
        return {}
    return found


def _known(path: str) -> str:
    return path.removeprefix(LEGACY_ROOT)
