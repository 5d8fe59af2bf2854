"""`runbook verify SOURCE`: is the audit log what was signed? Changes nothing, needs no Prefect."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput
from tasks.domain.ledger import NoteVerifier, Status, Verdict
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
    key = log_key or settings().ledger.log_key
    if not key:
        raise BadInput(
            "expected the sealer's public key, found none: give --log-key, or set "
            "RUNBOOK_LEDGER__LOG_KEY; without it nothing can be proven"
        )
    verifier = NoteVerifier.parse(key)
    name = origin or settings().ledger.origin
    if source.startswith(("postgresql://", "postgres://")):
        log = _log(sealed_log) if sealed_log else _configured_log()
        with Console(stderr=True).status("verifying the table") as status:
            verdict = verification.verify_table(
                source,
                log,
                verifier,
                name,
                progress=lambda done, total: status.update(f"verified {done:,} of {total:,}"),
            )
    else:
        verdict = verification.verify_log(_log(source), verifier, name)
    _print(verdict)
    if json_file is not None:
        json_file.write_text(json.dumps(verdict.as_json(), indent=2) + "\n", encoding="utf-8")
    return _EXIT[verdict.status]


def _configured_log() -> LogStore:
    store = settings().store
    return ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)


def _log(source: str) -> LogStore:
    if source.startswith("s3://"):
        parts = urlsplit(source)
        return ObjectLog(ObjectStore(settings().store), parts.netloc, parts.path.lstrip("/"))
    directory = Path(source)
    if not directory.is_dir():
        raise BadInput(
            f"expected a directory, s3://bucket/prefix or postgresql://..., found {source!r}"
        )
    return DirectoryLog(directory)


def _print(verdict: Verdict) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{verdict.status.value}[/bold]  {verdict.records:,} records hashed")
    if verdict.root:
        console.print(f"signed checkpoint  {verdict.origin}, size {verdict.signed:,}")
        console.print(f"root               {verdict.root}")
    if verdict.reason:
        console.print(f"reason             {verdict.reason}", markup=False)
    if verdict.findings:
        table = Table("code", "source", "seq", "count", "detail", box=None, pad_edge=False)
        for one in verdict.findings[:_SHOWN]:
            seq = "" if one.first is None else str(one.first)
            table.add_row(one.code, one.source, seq, str(one.count), one.detail)
        console.print(table, markup=False)
        if len(verdict.findings) > _SHOWN:
            console.print(f"and {len(verdict.findings) - _SHOWN} more: see --json")
    rate = verdict.records / verdict.seconds if verdict.seconds else 0
    console.print(f"{verdict.seconds:.2f} s, {rate:,.0f} records/s, {verdict.bytes:,} bytes")
