"""Whether a bag of evidence is whole and as it was signed; what is not is named, file by file.

    time stamp   -> the signature, by an authority whose roots are given
    signature    -> both manifests and the head of the custody log, by a key that counts
    tag manifest -> bagit.txt, bag-info.txt, the manifest
    manifest     -> every file below data/, and that there is no other
    collection   -> each item has its file, its description, and its entries in the custody log
    custody      -> no entry was edited, moved or left out, and none is missing at the end

Needs no network and nothing of ours but this program. That what was encrypted is what was read is
for its recipients to see: the custody log has the SHA-256 of the plain bytes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tasks.clients import timestamps
from tasks.clients.errors import NotFound
from tasks.domain import bagit
from tasks.domain.bag_seal import NOTE, TIME_STAMP, BagSeal
from tasks.domain.collection import (
    COLLECTION,
    CUSTODY,
    META,
    Collected,
    Skipped,
    meta_bytes,
    meta_path,
    read_collection,
)
from tasks.domain.custody import Action, Custody, CustodyHead, verify_custody
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.ledger import NoteVerifier
from tasks.domain.ledger.notes import MAX_NOTE_BYTES, note_text, open_note
from tasks.domain.untrusted import visible
from tasks.work.bag_files import BagFiles

_MOST_PROBLEMS = 100
_TOKEN_BYTES = 64 * 1024
_CUSTODY_BYTES = 256 * 1024 * 1024


class Proven(StrEnum):
    """`OWN_KEY`: it holds under the key that the bag itself names, which anybody can make."""

    WHOLE = "whole"
    OWN_KEY = "whole, but nobody said that its key counts"
    BROKEN = "broken"


@dataclass(slots=True)
class BagVerdict:
    """What was found. `problems` name the file; `files` and `size` (bytes) were read.

    `stamped`: whether there is a time-stamp token that holds; None when none was looked at.
    """

    seal: BagSeal | None = None
    signer: str = ""
    files: int = 0
    size: int = 0
    entries: int = 0
    collected: tuple[Collected, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    problems: list[str] = field(default_factory=list)
    stamped: bool | None = None

    @property
    def proven(self) -> Proven:
        """In one word."""
        if self.problems:
            return Proven.BROKEN
        return Proven.WHOLE if self.signer else Proven.OWN_KEY

    def against(self, name: str, what: object) -> None:
        """Note a problem of a file, once, and of very many the first."""
        told = f"{visible(name, 300)}: {visible(str(what), 300)}"
        if told not in self.problems and len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(told)


def is_bag(files: BagFiles) -> bool:
    """Whether it says that it is a bag."""
    try:
        next(iter(files.pieces(bagit.BAGIT)), b"")
    except NotFound:
        return False
    return True


def verify_bag(
    files: BagFiles,
    keys: Sequence[NoteVerifier] = (),
    anchors: Sequence[CustodyHead] = (),
    roots: Path | None = None,
) -> BagVerdict:
    """Read every file and compare. `keys`: whose signature counts; `anchors`: kept elsewhere.

    `roots`: PEM file of certificates to which the token of a time-stamp authority must lead; a bag
    without a token is whole as well.

    Raises what the place says when it cannot be read at all.
    """
    verdict = BagVerdict()
    _check_note(files, keys, verdict)
    if roots is not None:
        _check_token(files, roots, verdict)
    tags = _manifest(files, bagit.TAG_MANIFEST, verdict)
    listed = _manifest(files, bagit.MANIFEST, verdict)
    seal = verdict.seal
    signed = {} if seal is None else {bagit.TAG_MANIFEST: seal.tag_manifest}
    for name in (bagit.BAGIT, bagit.INFO, bagit.MANIFEST):
        if name not in tags:
            verdict.against(bagit.TAG_MANIFEST, f"does not list {name}")
    if seal is not None and tags.get(bagit.MANIFEST, seal.manifest) != seal.manifest:
        verdict.against(bagit.MANIFEST, "is not the one that was signed")
    _compare(files, {**listed, **tags, **signed}, verdict)
    _check_custody(files, anchors, verdict, _check_items(files, listed, verdict))
    return verdict


def _check_note(files: BagFiles, keys: Sequence[NoteVerifier], verdict: BagVerdict) -> None:
    """The signature: of one of the keys, or else of the key that the text names."""
    try:
        note = _read(files, NOTE, MAX_NOTE_BYTES).decode()
        seal = BagSeal.read(note_text(note))
        open_note(note, keys or [NoteVerifier.parse(seal.key)])
    except (RunbookError, UnicodeDecodeError) as error:
        verdict.against(NOTE, error)
        return
    verdict.seal = seal
    verdict.signer = seal.key.partition("+")[0] if keys else ""


def _check_token(files: BagFiles, roots: Path, verdict: BagVerdict) -> None:
    try:
        token = _read(files, TIME_STAMP, _TOKEN_BYTES)
    except NotFound:
        verdict.stamped = False
        return
    try:
        timestamps.verify_token(token, _read(files, NOTE, MAX_NOTE_BYTES), roots)
    except RunbookError as error:
        verdict.against(TIME_STAMP, error)
        return
    verdict.stamped = True


def _manifest(files: BagFiles, name: str, verdict: BagVerdict) -> dict[str, str]:
    try:
        return bagit.read_manifest(_read(files, name, bagit.MOST_BYTES).decode())
    except (RunbookError, UnicodeDecodeError) as error:
        verdict.against(name, error)
        return {}


def _compare(files: BagFiles, expected: dict[str, str], verdict: BagVerdict) -> None:
    """Every file against its digest; what is listed and not there, what is there and not listed."""
    there = set(files.names())
    for name in sorted(there - set(expected) - {NOTE, TIME_STAMP, bagit.TAG_MANIFEST}):
        verdict.against(name, "is in no manifest")
    for name, wanted in sorted(expected.items()):
        digest = hashlib.sha256()
        try:
            for piece in files.pieces(name):
                digest.update(piece)
                verdict.size += len(piece)
        except NotFound:
            verdict.against(name, "is listed and not there")
            continue
        verdict.files += 1
        if digest.hexdigest() != wanted:
            verdict.against(name, f"has other content: expected SHA-256 {wanted[:16]}...")


def _check_items(
    files: BagFiles, listed: dict[str, str], verdict: BagVerdict
) -> dict[tuple[str, str], str]:
    """Items against files and descriptions; what custody must say: SHA-256 by (item, act)."""
    try:
        value = json.loads(_read(files, COLLECTION, bagit.MOST_BYTES))
        verdict.collected, verdict.skipped = read_collection(value)
    except (RunbookError, ValueError, RecursionError) as error:
        verdict.against(COLLECTION, error)
        return {}
    wanted = {}
    for item in verdict.collected:
        if listed.get(item.path) != item.sha256:
            verdict.against(item.path, "is another one than the collection lists")
        meta = meta_path(item.id)
        if listed.get(meta) != hashlib.sha256(meta_bytes(item)).hexdigest():
            verdict.against(meta, "says something else than the collection")
        wanted[item.id, Action.COLLECTED.value] = item.plain_sha256
        wanted[item.id, Action.STORED.value] = item.plain_sha256
    known = {meta_path(item.id) for item in verdict.collected}
    for name in listed:
        if name.endswith(f"/{META}") and name not in known:
            verdict.against(name, "describes an item that the collection does not list")
    return wanted


def _check_custody(
    files: BagFiles,
    anchors: Sequence[CustodyHead],
    verdict: BagVerdict,
    wanted: dict[tuple[str, str], str],
) -> None:
    try:
        lines = _read(files, CUSTODY, _CUSTODY_BYTES).splitlines(keepends=True)
    except RunbookError as error:
        verdict.against(CUSTODY, error)
        return
    heads = [*([verdict.seal.custody] if verdict.seal else []), *anchors]
    found = verify_custody(lines, heads)
    verdict.entries = found.head.entries
    if found.custody is Custody.CONSISTENT and verdict.seal is None:
        return  # where it ends, only the signature says, and that has its problem already
    if found.custody is not Custody.COMPLETE:
        verdict.against(CUSTODY, found.reason or found.custody.value)
        return
    told = Counter[tuple[str, str]]()
    for line in lines:
        entry = json.loads(line)
        act = (str(entry.get("item_id")), str(entry.get("action")))
        told[act] += 1
        if wanted.get(act, entry.get("sha256")) != entry.get("sha256"):
            verdict.against(CUSTODY, f"{act[0]} was {act[1]} with another SHA-256")
    for item, action in wanted:
        if told[item, action] != 1:
            what = f"expected one entry that {item} was {action}, found {told[item, action]}"
            verdict.against(CUSTODY, what)


def _read(files: BagFiles, name: str, limit: int) -> bytes:
    pieces, size = [], 0
    for piece in files.pieces(name):
        size += len(piece)
        if size > limit:
            raise BadInput(f"expected at most {limit} bytes, found more")
        pieces.append(piece)
    return b"".join(pieces)
