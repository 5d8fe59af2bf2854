"""`runbook report verify`: is a report as it was signed? Offline, from its files alone."""

from pathlib import Path

import click

from deployments import terminal
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.errors import BadInput
from tasks.domain.ledger import NoteSigner, NoteVerifier
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.report_seal import Verdict, sealed_digests
from tasks.domain.report_seal import verify as proven
from tasks.domain.untrusted import visible
from tasks.settings import settings

_SEAL = ".seal"
_FORM_BYTES = 256 * 1024 * 1024


def verify(path: Path, keys: tuple[str, ...], json_file: Path | None) -> int:
    """Print what the seal proves. BadInput when there is none, or it is none of a report."""
    seal = _seal_of(path)
    note = _read(seal, MAX_NOTE_BYTES)
    try:
        text = note.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"expected a signed note in {seal}, found no UTF-8") from error
    files = {
        form: _read(file, _FORM_BYTES)
        for form, digest in sealed_digests(text).items()
        if (file := _beside(seal, form, digest)) is not None
    }
    trusted = [NoteVerifier.parse(key) for key in keys] or _own_key()
    verdict = proven(text, files, trusted)
    _print(verdict)
    terminal.write_json(
        json_file,
        {
            "incident": verdict.seal.incident,
            "signer": verdict.signer,
            "digests": dict(verdict.seal.digests),
            "facts": {"count": verdict.seal.facts, "sha256": verdict.seal.facts_digest},
            "proven": list(verdict.proven),
            "absent": list(verdict.absent),
            "problems": list(verdict.problems),
        },
    )
    if verdict.problems:
        return BAD
    return GOOD if verdict.signer else COULD_NOT_TELL


def _beside(seal: Path, form: str, digest: str) -> Path | None:
    """The form by the seal's own name, or as a kept version by its digest."""
    named = (seal.with_suffix(f".{form}"), seal.parent / f"{digest}.{form}")
    return next((file for file in named if file.is_file()), None)


def _seal_of(path: Path) -> Path:
    if path.is_dir():
        seals = sorted(path.glob(f"*{_SEAL}"))
        if len(seals) != 1:
            raise BadInput(f"expected one {_SEAL} file in {path}, found {len(seals)}: name it")
        return seals[0]
    seal = path.with_suffix(_SEAL)
    if not seal.is_file():
        raise BadInput(f"expected the seal {seal} beside the report, found none")
    return seal


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise BadInput(f"expected at most {limit} bytes in {path}, found more")
    return content


def _own_key() -> list[NoteVerifier]:
    """The responder's, where its key is; an auditor has none of it here."""
    if settings().responder.signing_key_file is None:
        return []
    key = settings().responder.read_signing_key().get_secret_value()
    return [NoteSigner.parse(key).verifier]


def _print(verdict: Verdict) -> None:
    console = terminal.console()
    word = "BROKEN" if verdict.problems else "as signed" if verdict.signer else "not judged"
    console.print(f"{word}  report of {visible(verdict.seal.incident)}", markup=False)
    if verdict.signer:
        console.print(f"signed   by {visible(verdict.signer)}", markup=False)
    for form in verdict.proven:
        console.print(f"{form:<8} sha256 {verdict.seal.digests[form]}", soft_wrap=True)
    for form in verdict.absent:
        console.print(f"{form:<8} not here")
    facts = f"facts    {verdict.seal.facts:,}, sha256 {verdict.seal.facts_digest}"
    console.print(facts, soft_wrap=True)
    for problem in verdict.problems:
        console.print(f"problem  {visible(problem, 600)}", markup=False, soft_wrap=True)
    if not verdict.signer and not verdict.problems:
        click.echo("Who signed it is not judged: give the responder's key with --key.", err=True)
