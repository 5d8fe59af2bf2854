"""What the sealer has signed of rebuilds, read back from a place where others may write too.

A note counts when it verifies and its document names the rebuild that it lies under. Anything else
there was planted, or copied from another rebuild: it is reported and stands in nobody's way.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import NoteError, NoteVerifier, open_note
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.log_rebuild import Left
from tasks.domain.rebuild_intent import Intent
from tasks.domain.rebuild_statement import digest_in
from tasks.work.log_files import LogStore

REBUILT = "rebuilt/"
MAX_STATEMENT_BYTES = 64 * 1024 * 1024

_ID = re.compile(r"rebuilt/([0-9]{8}T[0-9]{6}Z-[0-9a-f]{12})/(intent|statement)\.note", re.ASCII)
_MOST_NOTES = 200
_WORDS = 500


@dataclass(frozen=True, slots=True)
class Earlier:
    """Earlier rebuilds of one order. `ended`: the name of the newest that has its statement.

    `intent`: of the newest that was begun and not ended; `begun`: its name, where it can be ended
    under it. `planted`: notes that are not what they should be; `names`: all that are taken.
    """

    begun: str
    intent: Intent | None
    ended: str
    planted: tuple[Left, ...]
    names: frozenset[str]


def earlier_rebuilds(log: LogStore, digest: str, origin: str, verifier: NoteVerifier) -> Earlier:
    """Of the order with this digest. NotProven when there are more notes than anybody orders."""
    found = [match for match in map(_ID.fullmatch, log.paths(REBUILT)) if match is not None]
    notes = sorted((match[1], match[2]) for match in found if match[1].endswith(digest))
    if len(notes) > _MOST_NOTES:
        raise NotProven(
            f"{log}{REBUILT}: expected at most {_MOST_NOTES} notes of the order {digest}, found "
            f"{len(notes)}: somebody writes there, a person must look"
        )
    intents: dict[str, Any] = {}
    ended: set[str] = set()
    planted: list[Left] = []
    for name, kind in notes:
        try:
            value = _own(log, name, kind, origin, verifier)
        except (NotProven, NotFound) as error:
            planted.append(Left(f"{REBUILT}{name}/{kind}.note", str(error)[:_WORDS]))
            continue
        if kind == "intent":
            intents[name] = value
        else:
            ended.add(name)
    newest = max(ended, default="")
    last = max((name for name in intents if name > newest), default="")  # older ones went into it
    return Earlier(
        begun=last if (last, "statement") not in notes else "",
        intent=Intent.from_json(intents[last]) if last else None,
        ended=newest,
        planted=tuple(planted),
        names=frozenset(name for name, _ in notes),
    )


def _own(log: LogStore, name: str, kind: str, origin: str, verifier: NoteVerifier) -> Any:  # noqa: ANN401  JSON
    """The document, of this very rebuild; NotFound or NotProven else."""
    value = json.loads(read_signed(log, name, kind, origin, [verifier])[1])
    if value.get("name") != name:
        raise NotProven(f"{log}: the {kind} under {name} is another's: look who wrote it")
    return value


def read_signed(
    log: LogStore, name: str, kind: str, origin: str, verifiers: Iterable[NoteVerifier]
) -> tuple[str, bytes, str]:
    """(path, document, note) of a rebuild's `intent` or `statement`, proven by the signature.

    NotFound without the note or its document; NotProven when the two do not belong together.
    """
    where = f"{REBUILT}{name}/{kind}.note"
    try:
        note = log.read(where, MAX_NOTE_BYTES).decode()
        digest = digest_in(open_note(note, verifiers), origin, kind)
        path = document_path(name, kind, digest)
        document = log.read(path, MAX_STATEMENT_BYTES)
    except (NoteError, BadInput, Malformed, UnicodeDecodeError) as error:
        raise NotProven(f"{log}{where} is not the sealer's: {error}") from error
    if sha256(document).hexdigest() != digest:
        raise NotProven(f"{log}{path} is not what the sealer signed: somebody writes there")
    return path, document, note


def document_path(name: str, kind: str, digest: str) -> str:
    """Where the document lies of which a note signs the digest."""
    return f"{REBUILT}{name}/{kind}-{digest[:16]}.json"
