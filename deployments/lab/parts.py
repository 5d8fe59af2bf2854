"""What a lab consists of, and what others need to know of it: settings, addresses, the sealer."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyrage

from deployments.lab import mailbox, prefect_server, template
from deployments.lab.alertmanager import AlertmanagerServer
from deployments.lab.archiving import Archiver, base_variables
from deployments.lab.cache import CacheServer
from deployments.lab.cluster_life import ClusterLife
from deployments.lab.dataset import CANARIES
from deployments.lab.environment import LOOPBACK, free_port, require_loopback
from deployments.lab.errors import LabError
from deployments.lab.memory import memory_of
from deployments.lab.patient import DATABASE
from deployments.lab.postgres import PostgresServer, binaries, new_password
from deployments.lab.privacy_engine_state import FILE
from deployments.lab.processes import Child, Processes
from deployments.lab.prometheus import PrometheusServer
from deployments.lab.s3 import ObjectServer
from deployments.lab.sealing import SealerService, Witness
from deployments.lab.services import Service, Writer, sealers_job
from deployments.lab.small_disk import SmallDisk
from deployments.lab.state import StateDirectory
from tasks.domain.ledger import NoteSigner

ORIGIN = "rlhf-audit-trail"
JOURNAL_ORIGIN = f"{ORIGIN}/journal"
RESPONDER_KEY = "rlhf-audit-runbook"
PATIENCE = {
    "RUNBOOK_DATABASE_CARE__LOCK_WAIT_SECONDS": "2",
    "RUNBOOK_DATABASE_CARE__SLOW_QUERY_SECONDS": "3",
    "RUNBOOK_DATABASE_CARE__IDLE_IN_TRANSACTION_SECONDS": "2",
    "RUNBOOK_DATABASE_CARE__IDLE_SECONDS": "2",
}
"""Production waits minutes before it calls a session slow or leaked; a demo cannot."""


@dataclass(frozen=True, slots=True)
class Options:
    """How large the lab is, and what of it is started.

    `records` fill the table, the share `backup_at` of them before the backup is taken; `rate` is
    what the writer appends a second. Without `prefect` there is no gateway either. With `alerting`
    and where both are installed, what Prometheus finds reaches the gateway by Alertmanager; without
    it, only what somebody sends. With `archiving` the patient's WAL is archived and a base
    backup is taken. With `cluster` the patient's servers live in a simulated Kubernetes cluster,
    and users read from the API. With `mail` the contacts have mailboxes beside chat. With
    `small_disk` (megabytes; needs root) the responder works on a file system of that
    size. `state` and `reports` default to places of the lab's own.
    """

    records: int = 50_000
    backup_at: float = 0.9
    seed: int = 20_260_302
    rate: int = 200
    prefect: bool = True
    gateway: bool = True
    writer: bool = True
    alerting: bool = False
    archiving: bool = False
    cluster: bool = False
    mail: bool = False
    small_disk: int = 0
    state: Path | None = None
    reports: Path | None = None
    checked_per_second: int = 2000

    @property
    def has_gateway(self) -> bool:
        """Whether there is somebody to send alerts to."""
        return self.prefect and self.gateway


class Parts:
    """The parts of one lab. Those without a value here are there once the lab is entered."""

    directory: StateDirectory
    processes: Processes
    patient: PostgresServer
    responder: PostgresServer
    objects: ObjectServer
    cache: CacheServer
    api: Service
    chat: Service
    writer: Writer
    witnesses: list[Witness]
    sealer: SealerService

    def __init__(self, options: Options) -> None:
        self.options = options
        self.prometheus: PrometheusServer | None = None
        self.alertmanager: AlertmanagerServer | None = None
        self.gateway: Child | None = None
        self.worker: Child | None = None
        self.archiver: Archiver | None = None
        self.small_disk: SmallDisk | None = None
        self.life: ClusterLife | None = None
        self.people: dict[str, str] = {}
        self.backup_size = self.sealed_size = 0
        self.backup_key = self.base_key = ""
        self.mailbox: Service | None = None
        self.evidence_identity = pyrage.x25519.Identity.generate()
        self.alert_token = new_password()
        self.control_token = new_password()
        self.ports = {"gateway": free_port(), "prefect": free_port()}
        names = (ORIGIN, JOURNAL_ORIGIN, RESPONDER_KEY)
        self.signers = {name: NoteSigner.generate(name) for name in names}

    @property
    def path(self) -> Path:
        """The state directory."""
        return self.directory.path

    @property
    def engine_file(self) -> Path:
        """What the privacy engine remembers beside its ledger."""
        return self.path / FILE

    @property
    def reports(self) -> Path:
        """Where reports are written; kept after the lab's end."""
        return self.options.reports or self.path / "reports"

    @property
    def cluster_life(self) -> ClusterLife:
        """The cluster that the patient lives in. LabError in a lab without one."""
        if self.life is None:
            raise LabError("expected a lab with a cluster, found one without: Options.cluster")
        return self.life

    @property
    def gateway_url(self) -> str:
        """Our service: alerts, approvals, incident pages."""
        return f"http://{LOOPBACK}:{self.ports['gateway']}"

    @property
    def prefect_url(self) -> str:
        """Prefect's UI; its API is below `/api`."""
        return f"http://{LOOPBACK}:{self.ports['prefect']}"

    @property
    def log_key(self) -> str:
        """Verifier key of the sealer, which signs checkpoints and backup manifests."""
        return self.signers[ORIGIN].verifier.encoded

    @property
    def reader_dsn(self) -> str:
        """The patient's database, read-only."""
        return self.patient.dsn("audit_reader", DATABASE)

    @property
    def recovery_dsn(self) -> str:
        """The patient's maintenance database, as the role that may restore and rename."""
        return self.patient.dsn("audit_recovery", "postgres")

    @property
    def environment(self) -> dict[str, str]:
        """All settings for children of ours and for this process; secrets included."""
        known = {
            "RUNBOOK_LAB": "true",
            "RUNBOOK_API__URL": self.api.url,
            "RUNBOOK_API__TOKEN": self.api.token,
            "RUNBOOK_DATABASE__READER_DSN": self.reader_dsn,
            "RUNBOOK_DATABASE__RECOVERY_DSN": self.recovery_dsn,
            "RUNBOOK_DATABASE__NAME": DATABASE,
            "RUNBOOK_BREACH__ISOLATION_DSN": self.patient.dsn("audit_isolation", "postgres"),
            "RUNBOOK_DATABASE__CLIENT_BINARIES": str(binaries()),
            "RUNBOOK_DATABASE__SCHEMA_FILE": str(Path(__file__).with_name("schema.sql")),
            **PATIENCE,
            **(self.life.environment if self.life else {}),
            "RUNBOOK_PRIVACY__CONTROL_TOKEN": self.control_token,
            "RUNBOOK_PRIVACY__CANARIES": json.dumps(CANARIES),
            "RUNBOOK_CACHE__URL": self.cache.url,
            "RUNBOOK_METRICS__PROMETHEUS_URL": self.prometheus.url if self.prometheus else "",
            "RUNBOOK_EVIDENCE__RECIPIENTS": json.dumps([str(self.evidence_identity.to_public())]),
            **self._alerting_environment,
            **(mailbox.environment(self.mailbox) if self.mailbox else {}),
            **self._links,
            **self.objects.store_environment("responder"),
            **self.trust_environment,
            "RUNBOOK_LEDGER__BACKUP_KEY": self.log_key,
            "RUNBOOK_SEALER__URL": self.sealer.url,
            "RUNBOOK_SEALER__TOKEN": self.sealer.token,
            "RUNBOOK_RESPONDER__DSN": self.responder.dsn(
                template.RESPONDER_ROLE, template.RESPONDER_DATABASE
            ),
            "RUNBOOK_RESPONDER__SIGNING_KEY_FILE": str(self.path / "responder.key"),
            "RUNBOOK_RESPONDER__REPORTS": str(self.reports),
            "RUNBOOK_CHAT__URL": f"{self.chat.url}/api",
            "RUNBOOK_CHAT__TOKEN": self.chat.token,
            "RUNBOOK_STATUS_PAGE__DIRECTORY": str(self.path / "status-page"),
            "RUNBOOK_GATEWAY__URL": self.gateway_url,
            "RUNBOOK_GATEWAY__ALERT_TOKENS": json.dumps([self.alert_token]),
        }
        for name, value in known.items():
            if name.endswith(("_URL", "__URL")) and value:
                require_loopback(value)
        if self.options.prefect:
            home = self.path / "prefect"
            known |= prefect_server.client_environment(self.ports["prefect"], home)
        return known

    @property
    def responders_environment(self) -> dict[str, str]:
        """The same, for the processes that respond: with the disk that they work on."""
        if self.small_disk is None:
            return self.environment
        return self.environment | {"TMPDIR": str(self.small_disk.path)}

    @property
    def _alerting_environment(self) -> dict[str, str]:
        """Whom the gateway asks what fires; where nobody sends a heartbeat, it misses none."""
        if self.alertmanager is None:
            return {"RUNBOOK_GATEWAY__WATCHDOG_MINUTES": "0"}
        return {"RUNBOOK_ALERTMANAGER__URLS": json.dumps([self.alertmanager.url])}

    @property
    def _links(self) -> dict[str, str]:
        """The tools that an incident's page leads to."""
        tools = {
            "PREFECT": self.prefect_url if self.options.prefect else "",
            "PROMETHEUS": self.prometheus.url if self.prometheus else "",
            "ALERTMANAGER": self.alertmanager.url if self.alertmanager else "",
        }
        return {f"RUNBOOK_GATEWAY__LINKS__{name}": url for name, url in tools.items()}

    @property
    def trust_files(self) -> dict[str, Path]:
        """The trust policies by origin."""
        return {ORIGIN: self.path / "trust.toml", JOURNAL_ORIGIN: self.path / "journal-trust.toml"}

    @property
    def trust_environment(self) -> dict[str, str]:
        """Whom sealer and responder believe about both logs."""
        return {
            "RUNBOOK_LEDGER__ORIGIN": ORIGIN,
            "RUNBOOK_LEDGER__TRUST_FILE": str(self.trust_files[ORIGIN]),
            "RUNBOOK_LEDGER__JOURNAL_TRUST_FILE": str(self.trust_files[JOURNAL_ORIGIN]),
        }

    def memory_bytes(self) -> int:
        """Memory of all processes of the lab, shared pages counted once."""
        return memory_of(self.processes.pids())

    def summary(self) -> list[str]:
        """What runs and where, a line each, without secrets."""
        lines = [
            f"audit API          {self.api.url}",
            f"PostgreSQL         {LOOPBACK}:{self.patient.port}/{DATABASE}",
            f"S3                 {self.objects.url}",
            f"records            {self.options.records}, sealed {self.sealed_size}",
            f"backup             {self.backup_key}, {self.backup_size} records",
            f"sealer             {self.sealer.url}",
            f"witnesses          {', '.join(each.url for each in self.witnesses)}",
            "                   sealer, witnesses and anchor apart: simulated, on one machine",
        ]
        if self.life is not None:
            lines.append(f"Kubernetes         {self.life.cluster.url}, simulated")
        if self.prometheus is None:
            lines.append("Prometheus         not installed: firing alerts are Unknown")
        else:
            lines.append(f"Prometheus         {self.prometheus.url}")
        if self.alertmanager is not None:
            lines.append(f"Alertmanager       {self.alertmanager.url}")
        if self.options.prefect:
            lines.append(f"Prefect UI         {self.prefect_url}")
        if self.gateway is not None:
            lines.append(f"gateway            {self.gateway_url}")
        return lines

    def seal_now(self) -> int:
        """Have sealed what is not sealed yet; the size of the sealed log. LabError if refused."""
        self.sealed_size = self.sealer.seal("audit")
        return self.sealed_size

    def back_up_now(self) -> str:
        """Take a signed backup, as the sealer; its key."""
        self.backup_key = sealers_job(self.processes, "backup", self._backup_variables())
        return self.backup_key

    def back_up_base_now(self) -> str:
        """Take a signed base backup, as the sealer; its key. Needs a lab with `archiving`."""
        if self.archiver is None:
            raise LabError("expected a lab that archives WAL, found one without: Options.archiving")
        variables = self._backup_variables() | base_variables(self.patient)
        self.base_key = sealers_job(self.processes, "base_backup", variables)
        return self.base_key

    def archive_now(self) -> str:
        """Have in the store all WAL of what was committed so far; the last segment's name."""
        if self.archiver is None:
            raise LabError("expected a lab that archives WAL, found one without: Options.archiving")
        return self.archiver.flush(self.patient)

    def sealers_signer(self) -> NoteSigner:
        """The log's signing key: for tests that play the sealer, never for the responder."""
        return self.signers[ORIGIN]

    def sealer_variables(self) -> dict[str, str]:
        """What the sealer needs: its own logins, access key and signing keys, and the witnesses."""
        return {
            **self.objects.store_environment("sealer"),
            **self.trust_environment,
            "SEALER_KEY_FILE": str(self.path / "sealer.key"),
            "SEALER_DSN": self.patient.dsn("sealer", DATABASE),
            "SEALER_JOURNAL_KEY_FILE": str(self.path / "journal.key"),
            "SEALER_JOURNAL_DSN": self.responder.dsn(
                template.SEALER_ROLE, template.RESPONDER_DATABASE
            ),
            "SEALER_WITNESSES": json.dumps([each.url for each in self.witnesses]),
        }

    def _backup_variables(self) -> dict[str, str]:
        return {
            **self.objects.store_environment("sealer"),
            "LAB_SEALER_DSN": self.patient.dsn("sealer", DATABASE),
            "LAB_SEALER_KEY_FILE": str(self.path / "sealer.key"),
            "LAB_PG_DUMP": str(binaries() / "pg_dump"),
        }
