"""`runbook verify SOURCE`: is the audit log what was signed? Changes nothing, needs no Prefect.

Imports stand where they are needed: the libraries of a database or of an object store take longer
to load than a directory takes to verify.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from deployments import sources, terminal
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Layout, Status, Trust, Verdict, combine
from tasks.domain.ledger.scope import FULL, Scope, choose_scope
from tasks.domain.untrusted import visible
from tasks.sections.files import read_bytes
from tasks.settings import settings
from tasks.work.log_files import LogStore

_SHOWN = 20
_EXIT = {Status.VERIFIED: GOOD, Status.TAMPERED: BAD, Status.UNVERIFIABLE: COULD_NOT_TELL}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line names; None and empty: see the settings."""

    source: str
    trust_file: Path | None
    log_key: str | None
    origin: str | None
    sealed_log: str | None
    full: bool
    workers: int
    public_key: Path | None
    password_file: Path | None
    manifest: Path | None
    head: str | None
    json_file: Path | None


def run(options: Options) -> int:
    """Verify, print the verdict, write the JSON; the exit code."""
    settings()  # a wrong setting is told before anything is read
    with Console(stderr=True).status("verifying") as status:
        verdict = _verify(
            options,
            lambda done, due: status.update(f"hashed {done:,} of {due:,} records"),
        )
    _print(verdict)
    terminal.write_json(options.json_file, verdict.as_json())
    return _EXIT[verdict.status]


def _verify(options: Options, progress: Progress) -> Verdict:
    if options.source.startswith(("postgresql://", "postgres://")):
        return _verify_database(options, progress)
    log = sources.open_log(options.source, "a directory, s3://bucket/prefix or postgresql://...")
    from tasks.work.legacy import is_legacy

    if is_legacy(log):
        return _verify_legacy(options, log, progress)
    from tasks.work.verification import verify_log

    trust = sources.read_trust(options.trust_file, options.log_key, options.origin)
    scope = _scope(trust, full=options.full)
    verdict = verify_log(log, trust, progress, scope=scope, workers=options.workers)
    return _with_anchor(verdict, log, trust)


def _verify_database(options: Options, progress: Progress) -> Verdict:
    from tasks.work.legacy_table import is_legacy_table, verify_legacy_table
    from tasks.work.table_verification import verify_table

    _check_url(options.source)
    if is_legacy_table(options.source):
        return verify_legacy_table(options.source, head=options.head, progress=progress)
    log = sources.open_log(options.sealed_log)
    trust = sources.read_trust(options.trust_file, options.log_key, options.origin)
    scope = _scope(trust, full=options.full)
    verdict = verify_table(
        options.source, log, trust, progress, scope=scope, workers=options.workers
    )
    return _with_anchor(verdict, log, trust)


def _verify_legacy(options: Options, log: LogStore, progress: Progress) -> Verdict:
    from tasks.domain.ledger.legacy_keys import MAX_KEY_BYTES, LegacyKey
    from tasks.domain.ledger.legacy_manifest import MAX_MANIFEST_BYTES, parse_manifest
    from tasks.work.legacy import verify_legacy

    key, password, manifest = options.public_key, options.password_file, options.manifest
    return verify_legacy(
        log,
        public_key=LegacyKey.parse(read_bytes(key, MAX_KEY_BYTES)) if key else None,
        password=read_bytes(password, MAX_KEY_BYTES).rstrip(b"\r\n") if password else None,
        manifest=parse_manifest(read_bytes(manifest, MAX_MANIFEST_BYTES)) if manifest else None,
        head=options.head,
        progress=progress,
        workers=options.workers,
    )


def _scope(trust: Trust, *, full: bool) -> Scope:
    """Everything; or, beside a head that the policy kept, what is new and a sample."""
    anchor = trust.open_anchor()
    if full or anchor is None:
        return FULL
    return choose_scope(anchor.size, settings().ledger.sample_share, secrets.token_bytes(32))


def _with_anchor(verdict: Verdict, log: LogStore, trust: Trust) -> Verdict:
    from tasks.work.comparisons import compare_with_anchor

    anchor = trust.open_anchor()
    if anchor is None:
        return verdict
    size = verdict.signed if verdict.root else None
    return combine(verdict, compare_with_anchor(log, trust, anchor, size=size))


def _check_url(source: str) -> None:
    import psycopg
    from psycopg import conninfo

    try:
        conninfo.conninfo_to_dict(source)
    except psycopg.ProgrammingError as error:  # its text may quote the password
        raise BadInput(
            "expected postgresql://user@host:port/database, found a URL that PostgreSQL cannot read"
        ) from error


def _print(verdict: Verdict) -> None:
    console = terminal.console()
    console.print(f"[bold]{verdict.status.value}[/bold]  {verdict.records:,} records hashed")
    if verdict.layout is Layout.LEGACY:
        console.print("layout             legacy (rlhf-audit-trail 0.1)", markup=False)
    if verdict.root:
        signed = f"signed checkpoint  {verdict.origin}, size {verdict.signed:,}"
        console.print(signed, markup=False)
        console.print(f"root               {verdict.root}")
    if verdict.scope:
        console.print(f"scope              {verdict.scope}", markup=False)
    if verdict.reason:
        console.print(f"reason             {visible(verdict.reason, 1000)}", markup=False)
    if verdict.findings:
        console.print(_table(verdict), markup=False)
        if len(verdict.findings) > _SHOWN:
            console.print(f"and {len(verdict.findings) - _SHOWN} more: see --json")
    rate = verdict.records / verdict.seconds if verdict.seconds else 0
    console.print(f"{verdict.seconds:.2f} s, {rate:,.0f} records/s, {verdict.bytes:,} bytes")


def _table(verdict: Verdict) -> Table:
    table = Table(
        Column("code", no_wrap=True),
        "source",
        Column("seq", no_wrap=True),
        "count",
        "detail",
        box=None,
        pad_edge=False,
    )
    for one in verdict.findings[:_SHOWN]:
        seq = "" if one.first is None else str(one.first)
        table.add_row(one.code, one.source, seq, str(one.count), visible(one.detail))
    return table
