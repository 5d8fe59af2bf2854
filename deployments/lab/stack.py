"""The whole embedded stack: the system under care and the responder's own servers.

    with Lab(Options(records=5000), progress=print) as lab:
        ...

Entering starts everything and puts `lab.environment` into this process's environment; leaving
stops everything. What does not depend on each other starts at once, in threads.
"""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from deployments.lab import activation, dataset, prefect_server, template
from deployments.lab.alertmanager import AlertmanagerServer
from deployments.lab.archiving import Archiver
from deployments.lab.cache import CacheServer
from deployments.lab.cluster_life import ClusterLife
from deployments.lab.monitoring import monitors
from deployments.lab.parts import JOURNAL_ORIGIN, ORIGIN, RESPONDER_KEY, Options, Parts
from deployments.lab.patient import DATABASE, load, set_up
from deployments.lab.postgres import PATIENT, SUPERUSER, PostgresServer
from deployments.lab.processes import Processes
from deployments.lab.s3 import ObjectServer
from deployments.lab.sealing import WITNESSES, SealerService, Witness, trust_policy
from deployments.lab.services import Service, Users, Writer
from deployments.lab.small_disk import SmallDisk
from deployments.lab.state import StateDirectory, private_file
from deployments.lab.sweeping import sweep
from tasks.clients.object_store import ObjectStore
from tasks.settings import settings
from tasks.work import anchors, people, responder
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog

__all__ = ["APPROVER", "ORIGIN", "Lab", "Options"]

APPROVER = "demo approver (simulated)"

_TOKEN_VALID = timedelta(hours=12)
_USERS_RATE = 10.0
_DATA = (
    *("patient", "wal-out", "responder", "s3", "cache", "prometheus", "alertmanager", "prefect"),
    "cluster",
    *WITNESSES,
    "small-disk",
)


class Lab(Parts):
    """A running lab."""

    def __init__(
        self,
        options: Options | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(options or Options())
        self._progress = progress
        self._old_handler: Any = None

    def __enter__(self) -> Self:
        self.directory = StateDirectory.take(self.options.state)
        try:
            sweep(self.path)
            self.directory.clear()
            self.processes = Processes(self.directory)
        except BaseException:
            self.directory.release()
            raise
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="lab")
        try:
            self._catch_sigterm()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process and remove the data; logs and reports stay until the next lab."""
        activation.deactivate(self)
        try:
            if self.life is not None:
                self.life.stop()
        finally:
            self._stop_rest()

    def _stop_rest(self) -> None:
        self.processes.stop_all()
        self._threads.shutdown(wait=True, cancel_futures=True)
        sweep(self.path)
        for name in _DATA:
            shutil.rmtree(self.path / name, ignore_errors=True)
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
        self.directory.release()

    def _start(self) -> None:
        self._prepare()
        submit = self._threads.submit
        responders_data = submit(self._start_responder)
        responding = submit(self._start_prefect, responders_data)
        database = submit(self._start_patient)
        objects = submit(self._start_one, "S3", self.objects)
        others = [
            submit(self._start_one, "Valkey", self.cache),
            submit(self._start_one, "chat", self.chat),
        ]
        if self.mailbox is not None:
            others.append(submit(self._start_one, "mailboxes", self.mailbox))
        if self.alertmanager is not None:
            others.append(submit(self._start_one, "Alertmanager", self.alertmanager))
        witnessing = [submit(self._start_witness, each) for each in self.witnesses]
        rows = dataset.rows(self.options.records, self.options.seed, ORIGIN)
        database.result()
        objects.result()
        responders_data.result()
        sealing = submit(self._start_sealer)
        others.append(submit(self._start_running, responding))
        self._fill(rows)
        others.append(submit(self._start_api))
        for part in (sealing, *witnessing):
            part.result()
        with self._timed("sealing the log"):
            self.seal_now()
        for part in (responding, *others):
            part.result()
        activation.activate(self)
        responder.migrate()
        self.people[APPROVER] = people.add_person(APPROVER, "approver", _TOKEN_VALID)
        _anchor()
        if self.life is not None:
            self.life.start(self.patient)
            Users(self.processes, self.api, _USERS_RATE).start()
        if self.options.writer:
            self.writer.start()

    def _prepare(self) -> None:
        """Make the parts, with their ports and tokens, and the keys; nothing is started."""
        keys = {"sealer": ORIGIN, "journal": JOURNAL_ORIGIN, "responder": RESPONDER_KEY}
        for name, key in keys.items():
            private_file(self.path / f"{name}.key", self.signers[key].encoded + "\n")
        self.witnesses = [Witness(name, self.path / name, self.processes) for name in WITNESSES]
        verifiers = [each.signer.verifier for each in self.witnesses]
        for origin, file in self.trust_files.items():
            file.write_text(
                trust_policy(origin, self.signers[origin].verifier, verifiers), encoding="utf-8"
            )
        self.reports.mkdir(parents=True, exist_ok=True)
        self.objects = ObjectServer(self.path / "s3", self.processes)
        if self.options.small_disk:
            self.small_disk = SmallDisk(self.path / "small-disk")
            self.small_disk.mount(self.options.small_disk)
        if self.options.archiving:
            self.archiver = Archiver(self.processes, self.path / "wal-out")
        self.cache = CacheServer(self.path / "cache", self.processes)
        self.chat = Service("chat", "chat", self.processes, probe="/_messages")
        if self.options.mail:
            self.mailbox = Service("mailbox", "mailbox", self.processes, probe="/_letters")
        self.api = Service("api", "audit_api", self.processes)
        if self.options.cluster:
            self.api.probe = "/metrics"  # it runs, whether or not its database does
            self.life = ClusterLife(self.path / "cluster", self.api, self.cache)
            self.life.open()
        self.sealer = SealerService(self.processes)
        self.writer = Writer(
            self.processes, self.api, self.path / "acked.log", self.options.rate, self.options.seed
        )
        self.prometheus, self.alertmanager = monitors(self)

    def _start_one(
        self, name: str, part: ObjectServer | CacheServer | Service | AlertmanagerServer
    ) -> None:
        with self._timed(name):
            part.start()

    def _start_patient(self) -> None:
        with self._timed("PostgreSQL of the patient"):
            data = self.path / "patient"
            password = template.copy_cluster(template.plain_cluster(self.processes), data)
            options = PATIENT | (self.archiver.prepare() if self.archiver else {})
            self.patient = PostgresServer(
                "patient-postgres", data, self.processes, options, {SUPERUSER: password}
            )
            self.patient.start()
            self.patient.add_login(SUPERUSER)
            set_up(self.patient)

    def _start_responder(self) -> None:
        with self._timed("PostgreSQL of the responder"):
            kind = template.responder_cluster if self.options.prefect else template.plain_cluster
            self.responder = template.start_responder(
                self.processes, self.path / "responder", kind(self.processes, self._progress)
            )

    def _start_prefect(self, data: Future[None]) -> None:
        """Prefect's server, as soon as its database is there."""
        data.result()
        if self.options.prefect:
            with self._timed("Prefect server"):
                self._start_server()

    def _start_server(self) -> None:
        home, port = self.path / "prefect", self.ports["prefect"]
        home.mkdir()
        dsn = self.responder.dsn(template.PREFECT_ROLE, template.PREFECT_DATABASE)
        environment = prefect_server.server_environment(port, home, dsn, migrated=True)
        prefect_server.start_server(self.processes, port, home, environment)

    def _start_running(self, responding: Future[None]) -> None:
        """The worker and the gateway, as soon as Prefect answers."""
        responding.result()
        if self.options.prefect:
            self._start_responders()

    def _start_responders(self) -> None:
        environment = self.responders_environment
        self.worker = prefect_server.start_worker(self.processes, environment)
        if self.options.gateway:
            with self._timed("gateway"):
                self.gateway = prefect_server.start_gateway(
                    self.processes, environment, self.gateway_url
                )

    def _start_witness(self, witness: Witness) -> None:
        with self._timed(witness.name):
            witness.start(list(self.trust_files.values()))

    def _start_sealer(self) -> None:
        self.sealer.variables = self.sealer_variables()
        with self._timed("sealer"):
            self.sealer.start()

    def _start_api(self) -> None:
        self.api.variables = {
            "LAB_API_DSN": self.patient.dsn("audit_api", DATABASE),
            "LAB_ORIGIN": ORIGIN,
            "LAB_API_CHECKED_PER_SECOND": str(self.options.checked_per_second),
            "LAB_API_ENGINE": str(self.engine_file),
            "LAB_API_CONTROL_TOKEN": self.control_token,
        }
        if self.life is not None:
            self.api.variables |= self.life.api_variables
        self._start_one("audit API", self.api)
        if self.prometheus is not None:
            with self._timed("Prometheus"):
                self.prometheus.start()

    def _fill(self, rows: list[dataset.Row]) -> None:
        self.backup_size = round(len(rows) * self.options.backup_at)
        with self._timed(f"{len(rows)} records, a backup after {self.backup_size}"):
            load(self.patient, rows[: self.backup_size])
            self.back_up_now()
            if self.archiver is not None:
                self.archiver.start(self.objects.store_environment("sealer"))
                self.back_up_base_now()
            load(self.patient, rows[self.backup_size :])

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._progress(f"{what} ... {time.monotonic() - began:.1f} s")

    def _catch_sigterm(self) -> None:
        """Let SIGTERM end the `with` block as Ctrl-C does; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _anchor() -> None:
    """What last night's verification of a healthy log has left in the responder's database."""
    store, ledger = settings().store, settings().ledger
    log = ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)
    trust = ledger.read_trust()
    anchors.advance(log, trust, latest_head(log, trust).checkpoint)
