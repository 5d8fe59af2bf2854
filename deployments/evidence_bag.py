"""`runbook bundle verify` of a bag of evidence: is it whole, and as the responder signed it."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from deployments import terminal
from deployments.exits import BAD, GOOD
from tasks.domain.bagit import BAGIT
from tasks.domain.custody import CustodyHead
from tasks.domain.errors import BadInput
from tasks.domain.ledger import NoteSigner, NoteVerifier
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work.bag_files import BagFiles, DirectoryBag, StoredBag
from tasks.work.bag_verification import BagVerdict, Proven, is_bag, verify_bag
from tasks.work.bundle_verifier import PROVED_BY_ITS_OWN_KEYS

_S3 = "s3://"
_HEAD = re.compile(r"([1-9][0-9]{0,11}):([0-9a-f]{64})")
_EXIT = {Proven.WHOLE: GOOD, Proven.BROKEN: BAD, Proven.OWN_KEY: PROVED_BY_ITS_OWN_KEYS}


def is_one(path: str) -> bool:
    """Whether PATH is for us: in the store there is no other bundle, and a bag says what it is."""
    if path.startswith(_S3):
        return True
    try:
        return (Path(path) / BAGIT).is_file()
    except (OSError, ValueError):
        return False


def verify(
    path: str,
    *,
    keys: tuple[str, ...],
    heads: tuple[str, ...],
    roots: Path | None,
    json_file: Path | None,
) -> int:
    """Read every file, print what was found. BadInput when there is no bag."""
    files = _opened(path)
    if not is_bag(files):
        raise BadInput(f"expected a bag of evidence at {path[:200]!r}, found no {BAGIT} there")
    trusted = [NoteVerifier.parse(key) for key in keys] or _own_key()
    verdict = verify_bag(files, trusted, [_head(each) for each in heads], roots)
    _print(verdict)
    terminal.write_json(json_file, _as_json(verdict))
    return _EXIT[verdict.proven]


def _opened(path: str) -> BagFiles:
    if not path.startswith(_S3):
        return DirectoryBag(Path(path))
    from tasks.clients.object_store import ObjectStore  # noqa: PLC0415  loads boto3

    parts = urlsplit(path)
    prefix = parts.path.strip("/")
    return StoredBag(ObjectStore(settings().store), parts.netloc, f"{prefix}/" if prefix else "")


def _own_key() -> list[NoteVerifier]:
    """The responder's, where its key is; an auditor has none of it here."""
    if settings().responder.signing_key_file is None:
        return []
    key = settings().responder.read_signing_key().get_secret_value()
    return [NoteSigner.parse(key).verifier]


def _head(text: str) -> CustodyHead:
    found = _HEAD.fullmatch(text)
    if found is None:
        raise BadInput(f"expected ENTRIES:HASH of a custody log, found {text[:80]!a}")
    return CustodyHead(int(found[1]), found[2])


def _print(verdict: BagVerdict) -> None:
    console = terminal.console()
    console.print(f"[bold]{verdict.proven.value}[/bold]  bag of evidence")
    seal = verdict.seal
    if seal is not None:
        console.print(f"incident   {visible(seal.incident)}, bag {visible(seal.bag)}", markup=False)
        by = verdict.signer or "the key that it names itself"
        console.print(f"signed     by {visible(by)}: {visible(seal.key)}", markup=False)
        console.print(f"custody    {seal.custody.entries}:{seal.custody.hash}")
    if verdict.stamped is not None:
        console.print(f"time stamp {'holds' if verdict.stamped else 'there is none'}")
    console.print(f"read       {verdict.files:,} files, {verdict.size:,} bytes")
    encrypted = sum(each.encrypted for each in verdict.collected)
    console.print(f"items      {len(verdict.collected)}, {encrypted} of them encrypted")
    for each in verdict.skipped:
        text = f"skipped    {visible(each.id)}: {visible(each.reason, 300)}"
        console.print(text, markup=False)
    for problem in verdict.problems:
        console.print(f"problem    {problem}", markup=False)
    if verdict.proven is Proven.OWN_KEY:
        click.echo("Whoever made the bag chose that key: compare it, then give --key.", err=True)


def _as_json(verdict: BagVerdict) -> dict[str, Any]:
    seal = verdict.seal
    return {
        "verdict": verdict.proven.name.lower(),
        "incident": seal.incident if seal else "",
        "bag": seal.bag if seal else "",
        "key": seal.key if seal else "",
        "custody": {"entries": verdict.entries, "hash": seal.custody.hash if seal else ""},
        "files": verdict.files,
        "bytes": verdict.size,
        "items": [each.as_json() for each in verdict.collected],
        "skipped": [each.as_json() for each in verdict.skipped],
        "stamped": verdict.stamped,
        "problems": verdict.problems,
    }
