"""The sealer service, which alone signs and writes a log. The caller verifies what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.clients import http
from tasks.clients.errors import ClientError, Conflict, Denied, Malformed, NotFound, Transient
from tasks.domain.errors import BadInput, NotProven, RunbookError
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.untrusted import visible
from tasks.sections.house import SealerSettings

_ANSWERS = frozenset({200, 400, 409, 413, 422, 502, 503})
_MESSAGE_LIMIT = 2000
_ERRORS: dict[str, type[RunbookError]] = {
    each.__name__: each
    for each in (NotProven, Conflict, Transient, Denied, NotFound, Malformed, BadInput)
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sealer says it has sealed: `root` in hex, `added` records since the head before.

    `timestamp`: "stored", "pending: why" or "none" (no authority is named).
    """

    origin: str
    size: int
    root: str
    added: int
    note: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class RebuildAnswer:
    """What the sealer says it has put back; `lost` records, `sha256` of its signed statement.

    `statement`: the document's path in the log, empty when there was nothing to do.
    """

    origin: str
    size: int
    root: str
    put_back: int
    left: int
    lost: int
    statement: str
    sha256: str
    note: str


def seal(sealer: SealerSettings, log: str) -> Answer:
    """Have the log `audit` or `journal` sealed.

    Raises what the sealer met (NotProven: it refuses to sign; Conflict: another sealer; Transient:
    it, a witness or a server is away), Denied for a wrong token, BadInput without an address.
    """
    value = _post(sealer, f"seal/{log}")
    return Answer(
        _field(value, "origin", str),
        _field(value, "size", int),
        _field(value, "root", str),
        _field(value, "added", int),
        _field(value, "note", str),
        _field(value, "timestamp", str),
    )


def rebuild(
    sealer: SealerSettings,
    log: str,
    incident: str,
    objects: Sequence[str],
    mode: str,
    notes: Sequence[str] = (),
) -> RebuildAnswer:
    """Have the named objects (or runs of tiles) of a log put back, as the signed heads prove them.

    `mode`: a `Mode` of tasks.domain.log_rebuild, Conflict when the sealer finds the other one.
    `notes`: signed heads that were kept elsewhere. Raises as `seal`; NotProven when nothing
    reproduces the signed root.
    """
    order = {
        "incident": incident,
        "objects": list(objects),
        "mode": mode,
        "notes": list(notes),
    }
    value = _post(sealer, f"rebuild/{log}", order, sealer.rebuild_timeout_seconds)
    fields = {name: _field(value, name, str) for name in ("origin", "root", "note")}
    texts = {name: _field(value, name, str) for name in ("statement", "sha256")}
    counts = {name: _field(value, name, int) for name in ("size", "put_back", "left", "lost")}
    return RebuildAnswer(**fields, **texts, **counts)


def _post(
    sealer: SealerSettings,
    path: str,
    body: Mapping[str, Any] | None = None,
    timeout_seconds: float | None = None,
) -> dict[str, Any]:
    if not sealer.url:
        raise BadInput("expected the sealer's address, found none: set RUNBOOK_SEALER__URL")
    answer = http.call(
        "POST",
        f"{sealer.url.rstrip('/')}/{path}",
        timeout_seconds=timeout_seconds or sealer.timeout_seconds,
        token=sealer.token,
        json_body=body,
        accept=_ANSWERS,
    )
    value = answer.value if isinstance(answer.value, dict) else {}
    if answer.status != 200:  # noqa: PLR2004  OK
        raise _error(value)
    return value


def _error(value: dict[str, Any]) -> RunbookError:
    kind = _ERRORS.get(str(value.get("error")), ClientError)
    return kind(f"the sealer: {visible(value.get('message', 'no reason'), _MESSAGE_LIMIT)}")


def _field(value: dict[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401  str or int
    found = value.get(name)
    if type(found) is not kind or (isinstance(found, str) and len(found) > MAX_NOTE_BYTES):
        raise Malformed(f"expected {name} of the sealer as {kind.__name__}, found another")
    return found
