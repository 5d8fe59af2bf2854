"""`runbook bundle`: make a bundle for an auditor, and verify one as the auditor does."""

from hashlib import sha256
from pathlib import Path

import click

from deployments import terminal
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from deployments.sources import open_log, read_trust
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import Status, Trust
from tasks.domain.ledger.bundle_files import VERIFIER, Selection, policy_text
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work import bundle_verifier
from tasks.work.bundles import Contents, make_bundle, verifier_source

_EXIT = {Status.VERIFIED: GOOD, Status.TAMPERED: BAD, Status.UNVERIFIABLE: COULD_NOT_TELL}


def make(
    target: Path, source: str | None, trust: Trust, *, records: str, with_lines: bool, full: bool
) -> int:
    """Write the bundle; the exit code says how the log itself was found."""
    contents = Contents(Selection.parse(records), with_lines=with_lines, full=full)
    try:
        made = make_bundle(open_log(source), trust, target, contents)
    except NotProven as error:
        click.echo(f"not proven  {visible(error, 1000)}; nothing was written", err=True)
        return BAD
    checkpoint = made.checkpoint
    count = contents.selection.count
    console = terminal.console()
    console.print(f"[bold]{made.verdict.status.value}[/bold]  the log, when bundled")
    console.print(f"bundle     {target}: {made.files:,} files, verified", markup=False)
    console.print(
        f"head       {visible(checkpoint.origin)}, size {checkpoint.size:,}", markup=False
    )
    console.print(f"root       {checkpoint.root.hex()}")
    console.print(f"older      {made.older:,} heads, each proven to be a beginning of it")
    console.print(f"records    {count:,} selected{', all leaf hashes' if full else ''}")
    if with_lines:
        console.print("lines      enclosed: PERSONAL DATA, handle the bundle as the records")
    console.print(f"{VERIFIER}  SHA-256 {sha256(verifier_source()).hexdigest()}")
    if made.verdict.reason and made.verdict.status is not Status.VERIFIED:
        console.print(f"reason     {visible(made.verdict.reason, 1000)}", markup=False)
    return _EXIT[made.verdict.status]


def verify(
    path: Path,
    *,
    trust_file: Path | None,
    keys: tuple[str, ...],
    origin: str | None,
    json_file: Path | None,
) -> int:
    """Run the verifier that travels in bundles, print its words; its exit code (3: own keys)."""
    try:
        policy = _policy(trust_file, keys, origin)
        report = bundle_verifier.verify_bundle(str(path), policy)
    except bundle_verifier.NotABundle as error:
        raise BadInput(str(error)) from error
    click.echo(bundle_verifier.words(report), nl=False)
    terminal.write_json(json_file, bundle_verifier.as_json(report))
    return report.code


def _policy(
    trust_file: Path | None, keys: tuple[str, ...], origin: str | None
) -> bundle_verifier.Policy | None:
    """From the options, else the settings, else none: then the bundle's own keys are used."""
    if keys or (origin and trust_file is None):
        return bundle_verifier.given_policy(str(trust_file) if trust_file else None, keys, origin)
    ledger = settings().ledger
    if trust_file is None and ledger.trust_file is None and not ledger.log_key:
        return None
    return bundle_verifier.read_policy(policy_text(read_trust(trust_file, None, origin)))
