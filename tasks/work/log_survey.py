"""A look through a whole sealed log: what is missing or damaged, and what can be put back exactly.

The newest head that counts is taken from what is stored, from older versions behind it, or from a
note that somebody else kept; what proves it is then compared object by object with the believed
tree. Partial tiles and segments that a later sealing has replaced are not asked for, nor are
time-stamp tokens: the next sealing asks for a new one. Nothing is changed here.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    HASH_SIZE,
    CompactRange,
    MerkleTree,
    ProofError,
    Trust,
    leaf_hashes,
    verify_consistency,
)
from tasks.domain.ledger.blocks import BLOCK, block_count, block_range
from tasks.domain.ledger.segments import Segment, SegmentError, pick, unpack
from tasks.domain.ledger.tiles import TILE_WIDTH, Tile, leaf_tiles, tiles_of
from tasks.domain.log_rebuild import (
    MAX_OBJECTS,
    Consistency,
    Damaged,
    Left,
    Range,
    StoredTree,
    Survey,
    Why,
    merged,
)
from tasks.work.believed_tree import BelievedTree, Copies, Lines, ReadLines
from tasks.work.kept_heads import KeptHeads
from tasks.work.log_files import LogStore
from tasks.work.log_heads import CHECKPOINTS
from tasks.work.log_segments import segment_lines
from tasks.work.log_versions import LogVersions
from tasks.work.rebuilding import Missing, Rebuilt, rebuilt_segment
from tasks.work.signed_tree import partial_tile, tiles_of_block

_TILE_BYTES = TILE_WIDTH * HASH_SIZE
_LEAVES = "the signed leaves"
_NAMED_HEADS = 1000


class Restorer:
    """What the objects of a survey must hold; made when asked for, one at a time."""

    def __init__(self, tree: BelievedTree, heads: KeptHeads) -> None:
        self._tree = tree
        self._heads = heads

    def content(self, path: str) -> tuple[str, bytes]:
        """(from where it is proven, the bytes); NotProven when they cannot be had any more."""
        segment = Segment.parse(path)
        if segment is not None:
            made = segment_again(self._tree, segment)
            if isinstance(made, Missing):
                raise NotProven(f"{path}: lines are missing that were there a moment ago")
            return made.source, made.data
        if path.startswith(CHECKPOINTS):
            head = self._heads.best(int(path.removeprefix(CHECKPOINTS)))
            if head is None:
                raise NotProven(f"{path}: no copy of it verifies any more")
            return head.source, head.note.encode()
        return _LEAVES, self._tree.tile(Tile.parse(path))

    def is_right(self, path: str, data: bytes) -> bool:
        """Whether this content is what the signed tree demands; a segment's bytes may differ.

        NotProven when nothing can tell.
        """
        segment = Segment.parse(path)
        if segment is None:
            return data == self.content(path)[1]
        leaves = self._tree.block(segment.first // BLOCK).level(0)
        try:
            found = b"".join(leaf_hashes(lines) for lines in unpack(data, segment.count))
        except SegmentError:
            return False
        return found == leaves[: segment.count * HASH_SIZE]


def survey(
    log: LogStore,
    trust: Trust,
    versions: LogVersions,
    table: ReadLines,
    notes: Sequence[str] = (),
) -> tuple[Survey, Restorer]:
    """Look through all of it. `notes`: signed heads that others have kept, the anchor for instance.

    NotFound without any head. NotProven when no head counts, when nothing reproduces its root
    (naming the records in doubt), or when two signed heads are of different histories: then a
    person must look, and nothing may be put back. Memory: two blocks of 65,536 lines.
    """
    heads = KeptHeads(log, trust, versions, notes)
    head = heads.newest().checkpoint
    tree = BelievedTree(head, Copies(log, head.size, versions, table))
    found = stored_tree(log, head.size)
    looked = _Look(tree)
    for index in range(block_count(head.size)):
        looked.block(index)
    looked.upper_tiles()
    looked.checkpoints(heads)
    objects, left = looked.objects, looked.left
    if len(objects) > MAX_OBJECTS:
        more = len(objects) - MAX_OBJECTS
        left = [*left, Left(objects[MAX_OBJECTS].path, f"{more} objects are for another order")]
    consistency, proof = compare_trees(tree, found)
    done = Survey(
        head=head,
        found=found,
        consistency=consistency,
        proof=proof,
        objects=tuple(sorted(objects[:MAX_OBJECTS], key=lambda one: one.path)),
        lost=merged(looked.lost),
        left=tuple(left),
        versions_kept=versions.are_kept(),
    )
    return done, Restorer(tree, heads)


def stored_tree(log: LogStore, size: int) -> StoredTree:
    """The tree of the leaf tiles as they are stored, up to the first that cannot be read."""
    whole = CompactRange.empty()
    tiles = leaf_tiles(size)
    read = log.read_many((tile.path for tile in tiles if tile.width == TILE_WIDTH), _TILE_BYTES)
    with suppress(NotFound, Malformed):
        for tile in tiles:
            data = next(read) if tile.width == TILE_WIDTH else partial_tile(log, tile)
            if len(data) != tile.width * HASH_SIZE:
                break
            whole = whole.merge(CompactRange.of(data, whole.end))
    return StoredTree(whole.end, whole.root())


def compare_trees(tree: BelievedTree, found: StoredTree) -> tuple[Consistency, tuple[bytes, ...]]:
    """Whether the signed tree only appends to the stored one, by proof (RFC 9162 2.1.4)."""
    head = tree.checkpoint
    if found.size == 0:
        return Consistency.NOTHING, ()
    proof = tree.consistency_proof(found.size)
    try:
        verify_consistency(found.size, head.size, found.root, head.root, proof)
    except ProofError:
        return Consistency.INCONSISTENT, tuple(proof)
    return Consistency.CONSISTENT, tuple(proof)


def segment_again(tree: BelievedTree, segment: Segment) -> Rebuilt | Missing:
    """The segment from what has its lines: other segments, older versions, then the table."""
    index, end = segment.first // BLOCK, segment.first + segment.count
    leaves = tree.block(index).level(0)[: segment.count * HASH_SIZE]

    def sources() -> Iterator[tuple[str, Lines]]:
        yield from tree.copies.segments(index)
        yield "the table", tree.copies.table(segment.first, end)

    return rebuilt_segment(segment, leaves, sources())


class _Look:
    """What was found so far."""

    def __init__(self, tree: BelievedTree) -> None:
        self._tree = tree
        self._log = tree.copies.log
        self.objects: list[Damaged] = []
        self.lost: list[Range] = []
        self.left: list[Left] = []

    def block(self, index: int) -> None:
        """The block's tiles of levels 0 and 1, and its segment."""
        tree = self._tree.block(index)
        if self._tree.tiles_claimed(index) != tree.level(0):
            self._tiles(tiles_of_block(index, self._tree.size))
        width = len(block_range(index, self._tree.size)) // TILE_WIDTH
        if width:
            self._tiles([Tile(1, index, width)])
        self._segment(index, tree)

    def upper_tiles(self) -> None:
        """The few tiles above the blocks."""
        self._tiles([tile for tile in tiles_of(self._tree.size) if tile.level > 1])

    def checkpoints(self, heads: KeptHeads) -> None:
        """Every head that is, or was, stored up to the newest: all of them are its past."""
        sizes, others = heads.worth_looking_at()
        not_counted: list[Left] = []
        for size in sizes:
            path = f"{CHECKPOINTS}{size}"
            best = heads.best(size)
            if best is None or size > self._tree.size:
                if size in heads.stored or best is not None:  # also hidden: the log signed it
                    not_counted.append(Left(path, "no copy of it counts; it is never made again"))
                continue
            if self._tree.root(size) != best.checkpoint.root:
                raise NotProven(
                    f"FORK: {self._log}{path} is signed, but not a part of the history of "
                    f"{self._tree.size} records: nothing is put back, a person must look"
                )
            if not heads.is_right(size, best):
                why = Why.WRONG if size in heads.stored else Why.MISSING
                self.objects.append(Damaged(path, why, best.source))
        self.left += not_counted[:_NAMED_HEADS]
        if more := len(not_counted[_NAMED_HEADS:]) + others:
            why_left = f"{more} more of which no copy counts, or at whose size no segment ends"
            self.left.append(Left(CHECKPOINTS, why_left))

    def _tiles(self, tiles: Sequence[Tile]) -> None:
        for tile in tiles:
            try:
                stored = self._log.read(tile.path, _TILE_BYTES)
            except NotFound:
                self.objects.append(Damaged(tile.path, Why.MISSING, _LEAVES))
                continue
            except Malformed:
                stored = b""
            if stored != self._tree.tile(tile):
                self.objects.append(Damaged(tile.path, Why.WRONG, _LEAVES))

    def _segment(self, index: int, tree: MerkleTree) -> None:
        seqs = block_range(index, self._tree.size)
        wanted = Segment(seqs.start, len(seqs))
        available = self._tree.copies.stored.get(index, ())
        why = self._what_is_wrong(pick(available, wanted), wanted, tree.level(0))
        if why is None:
            return
        made = segment_again(self._tree, wanted)
        if isinstance(made, Missing):
            self.lost.extend(made.ranges)
            self.left.append(
                Left(wanted.path, f"{why}; some of its records are in no source as signed")
            )
        else:
            there = wanted in available
            self.objects.append(Damaged(wanted.path, why if there else Why.MISSING, made.source))

    def _what_is_wrong(self, stored: Segment | None, wanted: Segment, leaves: bytes) -> Why | None:
        if stored is None or stored.count < wanted.count:
            return Why.MISSING
        due = 0
        try:
            for seq, lines in segment_lines(self._log, stored, wanted.count):
                at = (seq - wanted.first) * HASH_SIZE
                if leaf_hashes(lines) != leaves[at : at + len(lines) * HASH_SIZE]:
                    return Why.WRONG
                due += len(lines)
        except NotFound:
            return Why.MISSING
        except (SegmentError, Malformed):
            return Why.TORN
        return None if due == wanted.count else Why.TORN
