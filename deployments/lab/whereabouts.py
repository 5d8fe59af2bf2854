"""Where words turn up in what the responder keeps and says: databases, chat, letters, evidence.

For canaries, which must turn up nowhere: whoever looks knows what was planted, the product does
not. Encrypted evidence is not looked into: there they belong.
"""

from collections.abc import Collection, Iterator

import httpx
import psycopg
from psycopg import sql

from deployments.lab import mailbox
from deployments.lab.dataset import CANARIES
from deployments.lab.parts import Parts
from deployments.lab.s3 import EVIDENCE
from deployments.lab.template import PREFECT_DATABASE, RESPONDER_DATABASE

ENCRYPTED = ".age"

_ANSWER_SECONDS = 10.0
_OURS = ("gateway", "prefect")
_TABLES = """
SELECT schemaname, tablename FROM pg_tables
 WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
"""


def places_of_canaries(lab: Parts, *, also: Collection[str] = ()) -> list[str]:
    """Places that hold a canary of the records, or one of the words `also`; empty when none does.

    Words are compared as they are, and in hex, as PostgreSQL prints bytes.
    """
    words = [word.encode() for word in (*CANARIES, *also)]
    wanted = (*words, *(word.hex().encode() for word in words))
    return [place for place, text in _texts(lab) if any(word in text for word in wanted)]


def _texts(lab: Parts) -> Iterator[tuple[str, bytes]]:
    for database in (RESPONDER_DATABASE, PREFECT_DATABASE):
        with lab.responder.connect(database) as connection:
            for schema, table in connection.execute(_TABLES).fetchall():
                yield f"{database}: {schema}.{table}", _rows(connection, schema, table)
    if lab.chat.child is not None:
        said = httpx.get(f"{lab.chat.url}/_messages", timeout=_ANSWER_SECONDS, trust_env=False)
        yield "chat", said.content
    yield "letters", str(mailbox.letters(lab.mailbox)).encode()
    for file in sorted(lab.reports.rglob("*")):
        if file.is_file():
            yield f"report {file.name}", file.read_bytes()
    for name in _OURS:
        for log in (lab.path / "logs").glob(f"{name}*.log"):
            yield f"log {log.name}", log.read_bytes()
    yield from _evidence(lab)


def _rows(connection: psycopg.Connection, schema: str, table: str) -> bytes:
    statement = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
    with connection.cursor().copy(statement) as copy:
        return b"".join(map(bytes, copy))


def _evidence(lab: Parts) -> Iterator[tuple[str, bytes]]:
    client = lab.objects.client("operator")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=EVIDENCE)
    for page in pages:
        for entry in page.get("Contents", ()):
            key = str(entry["Key"])
            if not key.endswith(ENCRYPTED):
                yield f"evidence {key}", client.get_object(Bucket=EVIDENCE, Key=key)["Body"].read()
    client.close()
