"""`runbook verify SOURCE`: is the audit log what was signed? Changes nothing, needs no Prefect."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import conninfo
from rich.console import Console
from rich.table import Column, Table

from deployments import terminal
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Status, Trust, Verdict
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work import verification
from tasks.work.log_store import DirectoryLog, LogStore, ObjectLog

_SHOWN = 20
_EXIT = {Status.VERIFIED: GOOD, Status.TAMPERED: BAD, Status.UNVERIFIABLE: COULD_NOT_TELL}


def run(
    source: str,
    *,
    log_key: str | None,
    origin: str | None,
    sealed_log: str | None,
    json_file: Path | None,
) -> int:
    """Verify, print the verdict, write `json_file`; the exit code."""
    trust = _trust(log_key, origin)
    if source.startswith(("postgresql://", "postgres://")):
        _check_url(source)
        log = _log(sealed_log) if sealed_log else _configured_log()
        with Console(stderr=True).status("verifying the table") as status:
            verdict = verification.verify_table(
                source,
                log,
                trust,
                progress=lambda done, total: status.update(f"verified {done:,} of {total:,}"),
            )
    else:
        verdict = verification.verify_log(_log(source), trust)
    _print(verdict)
    terminal.write_json(json_file, verdict.as_json())
    return _EXIT[verdict.status]


def _trust(log_key: str | None, origin: str | None) -> Trust:
    ledger = settings().ledger
    if log_key:
        return Trust.in_key(log_key, origin or ledger.origin)
    return ledger.read_trust()


def _check_url(source: str) -> None:
    try:
        conninfo.conninfo_to_dict(source)
    except psycopg.ProgrammingError as error:  # its text may quote the password
        raise BadInput(
            "expected postgresql://user@host:port/database, found a URL that PostgreSQL cannot read"
        ) from error


def _configured_log() -> LogStore:
    store = settings().store
    return ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)


def _log(source: str) -> LogStore:
    if source.startswith("s3://"):
        parts = urlsplit(source)
        return ObjectLog(ObjectStore(settings().store), parts.netloc, parts.path.lstrip("/"))
    if not os.path.isdir(source):  # noqa: PTH112 - pathlib raises for a name that is too long
        raise BadInput(
            f"expected a directory, s3://bucket/prefix or postgresql://..., found {source[:200]!r}"
        )
    return DirectoryLog(Path(source))


def _print(verdict: Verdict) -> None:
    console = terminal.console()
    console.print(f"[bold]{verdict.status.value}[/bold]  {verdict.records:,} records hashed")
    if verdict.root:
        signed = f"signed checkpoint  {verdict.origin}, size {verdict.signed:,}"
        console.print(signed, markup=False)
        console.print(f"root               {verdict.root}")
    if verdict.reason:
        console.print(f"reason             {visible(verdict.reason, 1000)}", markup=False)
    if verdict.findings:
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
        console.print(table, markup=False)
        if len(verdict.findings) > _SHOWN:
            console.print(f"and {len(verdict.findings) - _SHOWN} more: see --json")
    rate = verdict.records / verdict.seconds if verdict.seconds else 0
    console.print(f"{verdict.seconds:.2f} s, {rate:,.0f} records/s, {verdict.bytes:,} bytes")
