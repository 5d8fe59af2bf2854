"""A witness, as C2SP tlog-witness has it: `POST <prefix>/add-checkpoint`."""

from http import HTTPStatus

from tasks.clients import http
from tasks.clients.errors import Conflict, Denied, Malformed, NotFound, Transient
from tasks.domain.ledger import NoteError
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.ledger.witness import ADD_CHECKPOINT, SIZE_TYPE, AddCheckpoint, parse_size_body

_EXCERPT = 200


class OtherHead(Conflict):
    """The witness has another head than the proof begins at; `size` is that of its own."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class Contradicted(Conflict):
    """The witness has seen a history that this head does not continue."""


def add_checkpoint(url: str, request: AddCheckpoint, *, timeout_seconds: float) -> str:
    """The signature lines that the witness answers, not verified. `url`: its submission prefix.

    Raises OtherHead (409), Contradicted (422), Denied (403: it knows no key that signed), NotFound
    (404: it does not know the log), Transient (no answer, 429, 5xx), Malformed (anything else).
    """
    place = url.rstrip("/") + ADD_CHECKPOINT
    answer = http.post(place, request.encoded, timeout_seconds=timeout_seconds)
    if answer.status == HTTPStatus.OK:
        return _lines(place, answer.body)
    said = f"{place} answered {answer.status}: {answer.body[:_EXCERPT]!r}"
    match answer.status:
        case HTTPStatus.CONFLICT:
            raise OtherHead(said, _size(place, answer))
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            raise Contradicted(said)
        case HTTPStatus.FORBIDDEN | HTTPStatus.UNAUTHORIZED:
            raise Denied(f"{said}: give the witness the log's key")
        case HTTPStatus.NOT_FOUND:
            raise NotFound(f"{said}: give the witness the log's origin, or correct the URL")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus(500):
        raise Transient(said)
    raise Malformed(said)


def _lines(place: str, body: bytes) -> str:
    if len(body) > MAX_NOTE_BYTES:
        raise Malformed(f"expected signature lines of {place}, found {len(body)} bytes")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"expected signature lines of {place}, found no UTF-8") from error


def _size(place: str, answer: http.Raw) -> int:
    if answer.headers.get("content-type", "").partition(";")[0].strip() != SIZE_TYPE:
        raise Malformed(f"expected a 409 of {place} with {SIZE_TYPE}, found another type")
    try:
        return parse_size_body(answer.body)
    except NoteError as error:
        raise Malformed(f"{place}: {error}") from error
