"""`runbook prove`: proofs about single records for outsiders, made and checked offline."""

import re
from pathlib import Path

import click

from deployments.exits import BAD, GOOD
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import Finding, SignedHead, Trust
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.ledger.proof_texts import (
    MAX_PROOF_BYTES,
    ConsistencyText,
    InclusionText,
    is_consistency,
)
from tasks.domain.ledger.records import MAX_LINE_BYTES
from tasks.domain.untrusted import visible
from tasks.sections.files import read_text
from tasks.work import proving
from tasks.work.log_files import LogStore

_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def record(log: LogStore, trust: Trust, seq: int, *, with_line: bool, to: Path | None) -> int:
    """Prove one record: the proof into `to` or to standard output, the words beside it."""
    try:
        proof = proving.prove_record(log, trust, seq, with_line=with_line)
    except NotProven as error:
        return _refused(error)
    _put(proof.text.render(), to)
    _say(
        f"proven    record {seq} is among {_log_of(proof.checkpoint.origin, proof.checkpoint.size)}"
    )
    _say(f"leaf      {proof.leaf.hex()}")
    _say(f"root      {proof.checkpoint.root.hex()}")
    if proof.line is not None:
        _say("line      enclosed in the proof as it was sealed: personal data, handle it so")
    _warn(proof.refused)
    return GOOD


def growth(log: LogStore, trust: Trust, since: int, *, to: Path | None) -> int:
    """Prove that the newest head only appends to the one of `since` records."""
    try:
        proof = proving.prove_growth(log, trust, since)
    except NotProven as error:
        return _refused(error)
    _put(proof.text.render(), to)
    newest = _log_of(proof.new.origin, proof.new.size)
    _say(f"proven    {newest} begin with the {proof.old.size:,} of the older head")
    _say(f"root      {proof.new.root.hex()}")
    _say(f"old root  {proof.old.root.hex()}")
    _warn(proof.refused)
    return GOOD


def check(
    file: Path, trust: Trust, *, line_file: Path | None, leaf: str | None, old: Path | None
) -> int:
    """Verify a proof from outside; exit 1 when it does not hold under this trust."""
    text = read_text(file, MAX_PROOF_BYTES)
    try:
        if is_consistency(text):
            return _check_growth(text, trust, old)
        if old is not None:
            raise BadInput("--old goes with a proof between two heads; this one is of a record")
        shown = proving.check_record(
            InclusionText.parse(text), trust, line=_line(line_file), leaf=_leaf(leaf)
        )
    except NotProven as error:
        return _refused(error)
    checkpoint = shown.head.checkpoint
    _say(f"proven    record {shown.index} is among {_log_of(checkpoint.origin, checkpoint.size)}")
    _say(f"leaf      {shown.leaf.hex()}")
    _say(f"root      {checkpoint.root.hex()}")
    _say(f"seen by   {_witnesses(shown.head, trust)}")
    if shown.line is None:
        _say("It shows the place of this leaf hash. What the record says, only its line shows.")
    return GOOD


def _check_growth(text: str, trust: Trust, old: Path | None) -> int:
    if old is None:
        raise BadInput("expected --old FILE, the older checkpoint that this proof begins at")
    old_note = read_text(old, MAX_NOTE_BYTES)
    before, after = proving.check_growth(ConsistencyText.parse(text), old_note, trust)
    newest = _log_of(after.origin, after.size)
    _say(f"proven    {newest} begin with the {before.size:,} of the older head")
    return GOOD


def _line(file: Path | None) -> bytes | None:
    """The line as a file holds it; one newline at its end is the file's, not the line's."""
    if file is None:
        return None
    text = read_text(file, MAX_LINE_BYTES + 1)
    return text.removesuffix("\n").encode()


def _leaf(text: str | None) -> bytes | None:
    if text is None:
        return None
    if not _HEX64.fullmatch(text):
        raise BadInput("expected --leaf with 64 hex digits in lower case")
    return bytes.fromhex(text)


def _put(text: str, to: Path | None) -> None:
    """The proof itself, into a new file or alone on standard output."""
    if to is None:
        click.echo(text, nl=False)
        return
    try:
        with to.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise BadInput(f"expected to write the new file {to}, found: {error.strerror}") from error


def _say(text: str) -> None:
    """Words for people, beside the proof: standard error, so that a pipe holds the proof only."""
    click.echo(text, err=True)


def _refused(error: NotProven) -> int:
    _say(f"not proven  {visible(error, 1000)}")
    return BAD


def _warn(refused: tuple[Finding, ...]) -> None:
    for finding in refused[:5]:
        _say(f"beware    a newer head does not verify: {visible(finding.detail, 300)}")


def _log_of(origin: str, size: int) -> str:
    return f"the {size:,} signed records of {visible(origin, 200)}"


def _witnesses(head: SignedHead, trust: Trust) -> str:
    if not trust.witnesses:
        return "the sealer alone: this policy names no witness"
    named = ", ".join(f"{each.verifier} at {each.at}" for each in head.cosigned)
    return f"{len(head.cosigned)} of {len(trust.witnesses)} witnesses: {visible(named) or 'none'}"
