"""The witness as an HTTP service: C2SP tlog-witness, POST /add-checkpoint."""

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import ClassVar

from deployments.serving import BadRequest, BoundedServer, SmallHandler
from deployments.witness.state import State, StateDamaged
from tasks.domain.ledger import Checkpoint, NoteSigner, Trust, note_text, signature_line
from tasks.domain.ledger.witness import (
    ADD_CHECKPOINT,
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    AddCheckpoint,
    WitnessRefusal,
    judge,
    origin_of,
)

_logger = logging.getLogger(__name__)


class Witness:
    """One key, its state and the logs that it knows. `now` is a clock, for the cosignature."""

    def __init__(self, signer: NoteSigner, state: State, logs: Mapping[str, Trust]) -> None:
        self._signer = signer
        self._state = state
        self._logs = logs
        self._one_at_a_time = threading.Lock()

    def add_checkpoint(self, body: bytes) -> str:
        """The cosignature line. WitnessRefusal with the status to answer; StateDamaged.

        Judging and remembering are one step: two requests at once cannot both be continued from
        the same kept head. What is remembered is on the disk before anything is signed.
        """
        request = AddCheckpoint.parse(body)
        trust = self._logs.get(origin_of(request))
        with self._one_at_a_time:
            kept = {} if trust is None else self._state.kept(trust)
            try:
                head = judge(request, self._logs, kept)
            except WitnessRefusal as refusal:
                if refusal.is_evidence and trust is not None:
                    _logger.error("two histories: %s", ascii(str(refusal))[:1000])  # noqa: TRY400
                    self._state.keep_evidence(trust.origin, request.note)
                raise
            if kept.get(head.origin) != head:
                self._state.keep(head.origin, request.note)
            _log(head)
            return signature_line(note_text(request.note), self._signer, datetime.now(UTC))


def _log(head: Checkpoint) -> None:
    _logger.info("cosigned %s, size %d", ascii(head.origin), head.size)


class _Handler(SmallHandler):
    """`POST /add-checkpoint` and `GET /health`."""

    body_limit: ClassVar[int] = MAX_REQUEST_BYTES
    server: "WitnessServer"

    def do_POST(self) -> None:  # noqa: N802  http.server's name
        """Cosign, or say why not."""
        if self.path != ADD_CHECKPOINT:
            self.answer_text(HTTPStatus.NOT_FOUND, f"expected POST {ADD_CHECKPOINT}")
            return
        try:
            line = self.server.witness.add_checkpoint(self.body())
        except BadRequest as error:
            self.answer_text(error.status, str(error))
        except WitnessRefusal as refusal:
            if refusal.size is None:
                self.answer_text(refusal.status, str(refusal))
            else:
                self.answer(refusal.status, f"{refusal.size}\n".encode(), SIZE_TYPE)
        except (StateDamaged, OSError) as error:
            _logger.error("nothing is cosigned: %s", ascii(str(error))[:1000])  # noqa: TRY400
            self.answer_text(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot use its state")
        else:
            self.answer(HTTPStatus.OK, line.encode(), "text/plain; charset=utf-8")

    def do_GET(self) -> None:  # noqa: N802  http.server's name
        """Whether it is up."""
        known = self.path == "/health"
        self.answer_text(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND, "witness")


class WitnessServer(BoundedServer):
    """Serves one witness."""

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        self.witness = witness
        super().__init__(address, _Handler)
