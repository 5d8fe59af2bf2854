"""Having what proves the log put back: the sealer writes, the responder asks and does not believe.

The survey is the responder's own. What the sealer answers counts when its signed statement is
stored as it says, about the head that the survey found.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

from tasks.clients import sealer
from tasks.clients.errors import Malformed, NotFound
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import NotProven
from tasks.domain.ledger import NoteError, Trust
from tasks.domain.log_rebuild import Mode, Ordered, Survey, order_digest
from tasks.domain.rebuild_statement import Statement
from tasks.settings import Settings
from tasks.work import anchors
from tasks.work.log_files import LogStore
from tasks.work.log_heads import open_head
from tasks.work.log_rebuild import Order
from tasks.work.log_store import ObjectLog
from tasks.work.log_survey import survey
from tasks.work.log_versions import ObjectLogVersions
from tasks.work.rebuild_notes import read_signed
from tasks.work.rebuilding import table_source
from tasks.work.sealed_logs import LogName, place_of, trust_of

_LOG = LogName.AUDIT


def look(settings: Settings) -> Survey:
    """The audit log's place as it is now; the anchor's note counts as a copy of a head.

    Raises as `survey`.
    """
    trust = trust_of(_LOG, settings)
    place = place_of(_LOG, settings)
    log = ObjectLog(ObjectStore(settings.store), *place)
    table = table_source(settings.database.reader_dsn.get_secret_value())
    versions = ObjectLogVersions(settings.store, *place)
    return survey(log, trust, versions, table, _kept_notes(settings))[0]


def order_rebuild(
    incident: str, objects: Sequence[str], mode: Mode, settings: Settings
) -> dict[str, Any]:
    """Have the objects put back; what the sealer's signed statement says, in short.

    Counts and paths are the statement's. NotProven when it is not about this order, or not what
    the sealer answered.
    """
    answer = sealer.rebuild(
        settings.sealer, _LOG, incident, objects, mode=mode, notes=_kept_notes(settings)
    )
    result: dict[str, Any] = {"put_back": 0, "left": answer.left, "size": answer.size}
    if answer.statement:
        trust = trust_of(_LOG, settings)
        log = ObjectLog(ObjectStore(settings.store), *place_of(_LOG, settings))
        result |= stated(log, trust, answer, Order(incident, tuple(objects), mode))
    return result


def stated(
    log: LogStore, trust: Trust, answer: sealer.RebuildAnswer, order: Order
) -> dict[str, Any]:
    """What the statement that is stored says, once it is proven to be this order's.

    An answer about nothing done (`put_back` 0) may name the statement of the same order's earlier
    end. Ranges in the result are half-open. NotProven when the signatures, the order, the head or
    the answer contradict it; Malformed when it is no statement.
    """
    parts = answer.statement.split("/")
    if len(parts) != 3:  # noqa: PLR2004  rebuilt/<name>/<document>
        raise Malformed(f"expected the path of a statement, found {ascii(answer.statement)[:200]}")
    keys = [each.verifier for each in trust.log_keys]
    path, document, note = read_signed(log, parts[1], "statement", trust.origin, keys)
    digest = sha256(document).hexdigest()
    try:
        said = Statement.read(json.loads(document))
    except (KeyError, TypeError, ValueError, NoteError) as error:
        raise Malformed(f"{log}{path}: expected a statement of a rebuild: {error}") from error
    expected: dict[str, tuple[object, object]] = {
        "path": (answer.statement, path),
        "SHA-256": (answer.sha256, digest),
        "signature": (answer.note, note),
        "name": (parts[1], said.name),
        "order": (order_digest(order.incident, order.objects), parts[1].rpartition("-")[2]),
        "incident": (order.incident, said.incident),
        "origin": (answer.origin, said.head.origin),
    }
    if answer.put_back:
        expected |= {
            "head": ((answer.size, answer.root), (said.head.size, said.head.root.hex())),
            "objects put back": (answer.put_back, len(said.put_back)),
            "objects left": (answer.left, said.left),
            "records lost": (answer.lost, sum(end - first for first, end in said.lost)),
        }
    for what, (answered, signed) in expected.items():
        if answered != signed:
            raise NotProven(
                f"{log}{path}: {what}: the sealer answered {ascii(answered)[:200]}, signed is "
                f"{ascii(signed)[:200]}: do not believe it, and verify the log"
            )
    _require_ordered(log, trust, said, order)
    return said.in_short() | {"statement": path, "statement_sha256": digest}


def _require_ordered(log: LogStore, trust: Trust, said: Statement, order: Order) -> None:
    """NotProven unless it is about what was ordered, and a head that the log signed."""
    ordered = Ordered(order.objects)
    others = [path for path in said.put_back if path not in ordered]
    if others:
        raise NotProven(f"{log}: {ascii(others[0])[:200]} was put back, which was not ordered")
    with suppress(NotFound, NoteError):  # a head that lies beside, or is no head: verified later
        stored = open_head(log, said.head.size, trust, witnessed=False).checkpoint
        if stored != said.head:
            raise NotProven(f"{log}: the statement is about another head than the log signed")
    if said.rebuilt.size == said.head.size and said.rebuilt.root != said.head.root:
        raise NotProven(f"{log}: the tree that was put back has another root than the signed one")


def _kept_notes(settings: Settings) -> list[str]:
    anchor = anchors.newest(trust_of(_LOG, settings))
    return [anchor.note] if anchor is not None and anchor.checkpoint.size else []
