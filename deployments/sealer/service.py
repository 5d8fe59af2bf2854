"""The sealer as an HTTP service: `POST /seal/audit` and `/seal/journal`, one sealing at a time."""

import hmac
import logging
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import SecretStr

from deployments.key_files import read_signer
from deployments.sealer.configuration import Configuration
from deployments.serving import BoundedServer, SmallHandler
from tasks.clients.errors import Conflict, NotFound, Transient
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput, NotProven, RunbookError
from tasks.domain.ledger import KeyType
from tasks.settings import Settings
from tasks.work.audit_table import AUDIT_RECORDS, JOURNAL
from tasks.work.cosigning import Witnesses
from tasks.work.log_store import ObjectLog
from tasks.work.sealed_logs import LogName, place_of, trust_of
from tasks.work.sealing import Sealer, seal_table
from tasks.work.timestamping import Authority, stamp

_logger = logging.getLogger(__name__)

_BUSY_SECONDS = 60.0
_PATH = "/seal/"
_STATUS: tuple[tuple[type[RunbookError], HTTPStatus], ...] = (
    (NotProven, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Conflict, HTTPStatus.CONFLICT),
    (Transient, HTTPStatus.SERVICE_UNAVAILABLE),
    (RunbookError, HTTPStatus.BAD_GATEWAY),
)


class SealingOffice:
    """The logs, each with its key and the login that reads its table."""

    def __init__(self, known: Configuration, settings: Settings) -> None:
        self._jobs: dict[LogName, tuple[str, Sealer]] = {}
        self._one_at_a_time = threading.Lock()
        self._authority = _authority(known)
        store = ObjectStore(settings.store)
        witnesses = Witnesses(known.witnesses, known.witness_seconds)
        files = {LogName.AUDIT: (known.key_file, known.dsn, AUDIT_RECORDS)}
        if known.journal_key_file is not None:
            files[LogName.JOURNAL] = (known.journal_key_file, known.journal_dsn, JOURNAL)
        for name, (file, dsn, table) in files.items():
            signer, trust = read_signer(file, KeyType.LOG), trust_of(name, settings)
            if signer.verifier not in {each.verifier for each in trust.log_keys}:
                raise BadInput(
                    f"expected {file} to hold a key of {trust.origin!r}, found {signer.verifier}: "
                    "what it signed nobody would believe"
                )
            days = settings.store.retention_days
            log = ObjectLog(store, *place_of(name, settings), retention_days=days)
            self._jobs[name] = dsn.get_secret_value(), Sealer(log, signer, trust, witnesses, table)

    def seal(self, name: str) -> Mapping[str, Any]:
        """Seal one log: origin, size, root (hex), added, note, timestamp. Errors as `seal_table`.

        `timestamp` says whether the head has a time-stamp token, or why not yet.
        """
        job = self._jobs.get(LogName(name)) if name in set(LogName) else None
        if job is None:
            raise NotFound(f"expected one of {', '.join(self._jobs)}, found {name[:40]!r}")
        if not self._one_at_a_time.acquire(timeout=_BUSY_SECONDS):
            raise Transient("another sealing is under way; ask again")
        try:
            done = seal_table(*job)
            stamped = stamp(job[1].log, done.checkpoint.size, self._authority)
        finally:
            self._one_at_a_time.release()
        head = done.checkpoint
        _logger.info("sealed %s: %d records, %d new", ascii(head.origin), head.size, done.added)
        return {
            "origin": head.origin,
            "size": head.size,
            "root": head.root.hex(),
            "added": done.added,
            "note": done.note,
            "timestamp": stamped,
        }


def _authority(known: Configuration) -> Authority | None:
    """BadInput when it is named without the certificates that its tokens must lead to."""
    if not known.tsa_url:
        return None
    if known.tsa_roots is None or not known.tsa_roots.is_file():
        raise BadInput("expected the authority's root certificates in SEALER_TSA_ROOTS, found none")
    return Authority(known.tsa_url, known.tsa_roots, known.tsa_seconds)


class _Handler(SmallHandler):
    """`POST /seal/<log>` with the bearer token, and `GET /health`."""

    server: "SealerServer"

    def do_POST(self) -> None:  # noqa: N802  http.server's name
        """Seal, or say why not: {"error": the class of ours, "message"}."""
        if not self.server.is_allowed(self.headers.get("authorization", "")):
            self._refuse(HTTPStatus.UNAUTHORIZED, "Denied", "expected the sealer's token")
            return
        if not self.path.startswith(_PATH):
            self._refuse(HTTPStatus.NOT_FOUND, "NotFound", f"expected POST {_PATH}audit")
            return
        self.server.has_arrived(self.connection)  # the request has no body that matters
        try:
            done = self.server.office.seal(self.path.removeprefix(_PATH))
        except RunbookError as error:
            _logger.warning("not sealed: %s", ascii(str(error))[:2000])
            status = next(status for kind, status in _STATUS if isinstance(error, kind))
            self._refuse(status, type(error).__name__, str(error))
        else:
            self.answer_json(HTTPStatus.OK, done)

    def do_GET(self) -> None:  # noqa: N802  http.server's name
        """Whether it is up."""
        if self.path == "/health":
            self.answer_json(HTTPStatus.OK, {"status": "ok"})
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "NotFound", "expected GET /health")

    def _refuse(self, status: HTTPStatus, error: str, message: str) -> None:
        self.answer_json(status, {"error": error, "message": message[:2000]})


class SealerServer(BoundedServer):
    """Serves one office to whoever has the token."""

    def __init__(self, address: tuple[str, int], token: SecretStr, office: SealingOffice) -> None:
        self.office = office
        self._expected = f"Bearer {token.get_secret_value()}".encode()
        super().__init__(address, _Handler)

    def is_allowed(self, header: str) -> bool:
        """Whether this Authorization header carries the token; takes the same time for any."""
        return hmac.compare_digest(header.encode("utf-8", "replace"), self._expected)
