"""The sealer as an HTTP service: `POST /seal/<log>` and `/rebuild/<log>`, one at a time."""

import hmac
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar

from pydantic import SecretStr

from deployments.key_files import read_signer
from deployments.sealer.configuration import Configuration
from deployments.serving import BadRequest, BoundedServer, SmallHandler
from tasks.clients.errors import Conflict, NotFound, Transient
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput, NotProven, RunbookError
from tasks.domain.ledger import KeyType
from tasks.settings import Settings
from tasks.work.audit_table import AUDIT_RECORDS, JOURNAL
from tasks.work.cosigning import Witnesses
from tasks.work.log_rebuild import Order, rebuild
from tasks.work.log_store import ObjectLog
from tasks.work.log_versions import ObjectLogVersions
from tasks.work.sealed_logs import LogName, place_of, trust_of
from tasks.work.sealing import Sealer, seal_table
from tasks.work.timestamping import Authority, stamp

_logger = logging.getLogger(__name__)

_BUSY_SECONDS = 60.0
_SEAL = "/seal/"
_REBUILD = "/rebuild/"
_ORDER_BYTES = 1024 * 1024
_STATUS: tuple[tuple[type[RunbookError], HTTPStatus], ...] = (
    (NotProven, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Conflict, HTTPStatus.CONFLICT),
    (Transient, HTTPStatus.SERVICE_UNAVAILABLE),
    (BadInput, HTTPStatus.BAD_REQUEST),
    (RunbookError, HTTPStatus.BAD_GATEWAY),
)


class SealingOffice:
    """The logs, each with its key and the login that reads its table."""

    def __init__(self, known: Configuration, settings: Settings) -> None:
        self._jobs: dict[LogName, tuple[str, Sealer]] = {}
        self._versions: dict[LogName, ObjectLogVersions] = {}
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
            place = place_of(name, settings)
            log = ObjectLog(store, *place, retention_days=days)
            self._versions[name] = ObjectLogVersions(settings.store, *place, retention_days=days)
            self._jobs[name] = dsn.get_secret_value(), Sealer(log, signer, trust, witnesses, table)

    def seal(self, name: str) -> Mapping[str, Any]:
        """Seal one log: origin, size, root (hex), added, note, timestamp. Errors as `seal_table`.

        `timestamp` says whether the head has a time-stamp token, or why not yet.
        """
        _, job = self._known(name)
        with self._alone():
            done = seal_table(*job)
            stamped = stamp(job[1].log, done.checkpoint.size, self._authority)
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

    def rebuild(self, name: str, order: Order) -> Mapping[str, Any]:
        """Put back what proves one log, as far as the order names it; as `Done.as_json`."""
        log, (dsn, sealer) = self._known(name)
        with self._alone():
            done = rebuild(dsn, sealer, self._versions[log], order)
        _logger.info(
            "rebuilt %s: %d objects put back, %d left", name, len(done.put_back), len(done.left)
        )
        return done.as_json()

    def _known(self, name: str) -> tuple[LogName, tuple[str, Sealer]]:
        if name not in set(LogName) or LogName(name) not in self._jobs:
            raise NotFound(f"expected one of {', '.join(self._jobs)}, found {name[:40]!r}")
        return LogName(name), self._jobs[LogName(name)]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._one_at_a_time.acquire(timeout=_BUSY_SECONDS):
            raise Transient("other work on a log is under way; ask again")
        try:
            yield
        finally:
            self._one_at_a_time.release()


def _authority(known: Configuration) -> Authority | None:
    """BadInput when it is named without the certificates that its tokens must lead to."""
    if not known.tsa_url:
        return None
    if known.tsa_roots is None or not known.tsa_roots.is_file():
        raise BadInput("expected the authority's root certificates in SEALER_TSA_ROOTS, found none")
    return Authority(known.tsa_url, known.tsa_roots, known.tsa_seconds)


class _Handler(SmallHandler):
    """`POST /seal/<log>`, `POST /rebuild/<log>` with the bearer token, and `GET /health`."""

    body_limit: ClassVar[int] = _ORDER_BYTES
    server: "SealerServer"

    def do_POST(self) -> None:  # noqa: N802  http.server's name
        """Seal or rebuild, or say why not: {"error": the class of ours, "message"}."""
        if not self.server.is_allowed(self.headers.get("authorization", "")):
            self._refuse(HTTPStatus.UNAUTHORIZED, "Denied", "expected the sealer's token")
            return
        try:
            if self.path.startswith(_SEAL):
                self.server.has_arrived(self.connection)  # the request has no body that matters
                done = self.server.office.seal(self.path.removeprefix(_SEAL))
            elif self.path.startswith(_REBUILD):
                order = Order.read(self._json())
                done = self.server.office.rebuild(self.path.removeprefix(_REBUILD), order)
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "NotFound", f"expected POST {_SEAL}audit")
                return
        except BadRequest as error:
            self._refuse(error.status, "BadInput", str(error))
        except RunbookError as error:
            _logger.warning("refused: %s", ascii(str(error))[:2000])
            status = next(status for kind, status in _STATUS if isinstance(error, kind))
            self._refuse(status, type(error).__name__, str(error))
        else:
            self.answer_json(HTTPStatus.OK, done)

    def _json(self) -> object:
        try:
            return json.loads(self.body())
        except (ValueError, RecursionError) as error:
            raise BadInput("expected an order in JSON") from error

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
