"""A sealed log in a directory, its rows in a list, and ways to ruin both."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.domain.ledger import Checkpoint, MerkleTree, Trust, sign_checkpoint
from tasks.domain.ledger.segments import pack, segments_of
from tasks.domain.ledger.tiles import tile_data, tiles_of
from tasks.domain.log_rebuild import Survey
from tasks.work.believed_tree import Lines
from tasks.work.log_store import DirectoryLog
from tasks.work.log_survey import Restorer, survey
from tasks.work.log_versions import KeptVersion, NoVersions
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, TRUST, chained, plain_leaf

SIZES = (300, 1500, 2600)
LARGE = (300, 66_000)


@dataclass
class FileVersions(NoVersions):
    """Old versions of a directory's files, by (path, id): what a bucket would keep."""

    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def below(self, prefix: str) -> list[KeptVersion]:
        return [
            KeptVersion(path, version, len(data), is_latest=False, is_marker=False)
            for (path, version), data in self.kept.items()
            if path.startswith(prefix)
        ]

    def read(self, path: str, version_id: str, limit: int) -> bytes:
        data = self.kept[path, version_id]
        assert len(data) <= limit
        return data


@dataclass
class KeptOver(FileVersions):
    """Versions of a directory's files that can be written over, as in a bucket that keeps them."""

    root: Path = Path()

    def are_kept(self) -> bool:
        return True

    def current(self, path: str) -> tuple[str, str] | None:
        file = self.root / path
        return ("now", sha256(file.read_bytes()).hexdigest()) if file.is_file() else None

    def write_over(self, path: str, data: bytes, etag: str) -> None:
        file = self.root / path
        assert sha256(file.read_bytes()).hexdigest() == etag
        self.kept[path, f"old-{len(self.kept)}"] = file.read_bytes()
        file.write_bytes(data)


@dataclass
class Ruin:
    """A log that a test may ruin, and its original files."""

    root: Path
    lines: list[bytes]
    rows: dict[int, bytes]
    original: dict[str, bytes]
    versions: FileVersions = field(default_factory=FileVersions)

    @property
    def log(self) -> DirectoryLog:
        return DirectoryLog(self.root)

    def table(self, first: int, end: int) -> Lines:
        return [(seq, self.rows[seq]) for seq in range(first, end) if seq in self.rows]

    def look(self, *notes: str, trust: Trust = TRUST) -> tuple[Survey, Restorer]:
        return survey(self.log, trust, self.versions, self.table, notes)

    def remove(self, *paths: str) -> None:
        for path in paths:
            (self.root / path).unlink()

    def write(self, path: str, data: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)

    def alter_row(self, seq: int) -> None:
        self.rows[seq] = self.rows[seq].replace(b"annotation", b"annotatiom")

    def mended(self) -> dict[str, bytes]:
        """What all objects of the survey are put back to."""
        found, restorer = self.look()
        return {one.path: restorer.content(one.path)[1] for one in found.objects}


def write_log(root: Path, lines: Sequence[bytes], sizes: Sequence[int]) -> None:
    """As a sealer would have, sealing at each of the sizes."""
    log = DirectoryLog(root)
    leaves = [plain_leaf(line) for line in lines]
    before = 0
    for size in sizes:
        tree = MerkleTree(leaves[:size])
        for each in segments_of(size, before):
            log.write(each.path, pack(lines[each.first : each.first + each.count]))
        for tile in tiles_of(size, before):
            log.write(tile.path, tile_data(tree, tile))
        head = Checkpoint(ORIGIN, size, tree.root())
        log.write(f"checkpoints/{size}", sign_checkpoint(head, SIGNER).encode())
        before = size


@dataclass(frozen=True)
class Built:
    """A log on disk, to be copied."""

    root: Path
    lines: list[bytes]

    def copy(self, target: Path) -> Ruin:
        shutil.copytree(self.root, target)
        files = [path for path in target.rglob("*") if path.is_file()]
        original = {str(path.relative_to(target)): path.read_bytes() for path in files}
        return Ruin(target, list(self.lines), dict(enumerate(self.lines)), original)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Built:
    lines = chained(SIZES[-1])
    root = tmp_path_factory.mktemp("small") / "log"
    write_log(root, lines, SIZES)
    return Built(root, lines)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Of two blocks."""
    lines = chained(LARGE[-1])
    root = tmp_path_factory.mktemp("large") / "log"
    write_log(root, lines, LARGE)
    return Built(root, lines)


@pytest.fixture
def ruin(small: Built, tmp_path: Path) -> Ruin:
    return small.copy(tmp_path / "log")


@pytest.fixture
def large_ruin(large: Built, tmp_path: Path) -> Ruin:
    return large.copy(tmp_path / "log")
