"""The signed list of what became of each row of other tables, stored beside the loss list."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres, postgres_admin
from tasks.clients.object_store import ObjectStore
from tasks.domain.ledger import NoteSigner, sign_note
from tasks.domain.reconciled import Reconciled
from tasks.work.reconciliation_book import has_book, read_book, remove_book
from tasks.work.recovery import Site, Stage
from tasks.work.scratch import private_scratch

_FORMAT = "rlhf-audit-reconciliation/v1"
_ENTRIES = (
    "COPY (SELECT schema_name, table_name, key, what, digest, detail, number"
    " FROM audit_recovery.entries ORDER BY 1, 2, 3) TO STDOUT (FORMAT BINARY)"
)
_TYPES = ["text", "text", "text", "text", "text", "text", "int8"]
_NAMES = ("schema", "table", "key", "what", "row_sha256", "detail", "rows")


@dataclass(frozen=True, slots=True)
class SealedList:
    """The stored list: its keys, the SHA-256 (hex) of its lines, how many, the end of its lock."""

    reconciled: Reconciled
    bucket: str
    key: str
    note_key: str
    sha256: str
    entries: int
    locked_until: datetime


def seal_list(
    site: Site, store: ObjectStore, bucket: str, signer: NoteSigner, retention_days: int
) -> SealedList | None:
    """Store the list (a JSON line for each entry) and a note that signs it, under Object Lock.

    The same on every call while the book is in the restored database; `forget_book` takes it out.
    None when there is no book: nothing was reconciled, or the list is stored already.
    """
    database = _restored(site)
    if database is None:
        return None
    with (
        postgres.connect(site.dsn_of(database), timeout_seconds=site.timeout_seconds) as opened,
        private_scratch(site.incident) as directory,
    ):
        if not has_book(opened, site.incident):
            return None
        path = directory / "list.jsonl"
        reconciled = read_book(opened)
        digest, entries = _write(path, site.incident, reconciled, opened)
        until = datetime.now(UTC) + timedelta(days=retention_days)
        key = f"evidence/{site.incident}/reconciliation-{digest[:16]}.jsonl"
        note_key = key.removesuffix(".jsonl") + ".note"
        store.put_file(bucket, key, path, retain_until=until)
    text = f"{_FORMAT}\n{site.incident}\n{digest}\n{entries}\n"
    store.put(bucket, note_key, sign_note(text, signer).encode(), retain_until=until)
    head = store.head(bucket, key)
    return SealedList(
        reconciled, bucket, key, note_key, digest, entries, head.retain_until or until
    )


def forget_book(site: Site) -> None:
    """Take the book out of the database in service, once its list is sealed and recorded."""
    database = _restored(site)
    if database is None:
        return
    with postgres.connect(site.dsn_of(database), timeout_seconds=site.timeout_seconds) as opened:
        if has_book(opened, site.incident):
            opened.execute("SET default_transaction_read_only TO off")  # it may be frozen
            remove_book(opened)


def reconciled_so_far(site: Site) -> Reconciled | None:
    """The book's numbers, from the scratch database or, after the swap, production."""
    database = _restored(site)
    if database is None:
        return None
    with postgres.connect(site.dsn_of(database), timeout_seconds=site.timeout_seconds) as opened:
        return read_book(opened) if has_book(opened, site.incident) else None


def _restored(site: Site) -> str | None:
    names = (site.names.production, site.names.scratch)
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        states = postgres_admin.databases(admin, names)
    for name in names:
        if name in states and site.is_ours(states[name], Stage.IN_SERVICE, Stage.RESTORED):
            return name
    return None


def _write(
    path: Path, incident: str, reconciled: Reconciled, opened: Connection[TupleRow]
) -> tuple[str, int]:
    """(SHA-256, number of entries) of the file; its first line says what it is a list of."""
    digest = hashlib.sha256()
    head = {"format": _FORMAT, "incident": incident, "reconciled": reconciled.as_json()}
    lines = -1
    with path.open("wb") as file:
        for line in chain([head], _entries(opened)):
            data = json.dumps(line, sort_keys=True).encode() + b"\n"
            digest.update(data)
            file.write(data)
            lines += 1
    return digest.hexdigest(), lines


def _entries(opened: Connection[TupleRow]) -> Iterator[dict[str, Any]]:
    with opened.cursor().copy(_ENTRIES) as copy:
        copy.set_types(_TYPES)
        for row in copy.rows():
            yield dict(zip(_NAMES, row, strict=True))
