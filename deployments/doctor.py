"""`runbook doctor`: every configured system, reachable, permitted, how fast; what to mend."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import Connection, conninfo
from psycopg.rows import TupleRow
from pydantic import SecretStr
from rich.table import Table

from deployments import terminal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients import (
    alertmanager,
    audit_api,
    cache,
    http,
    loki,
    postgres,
    prometheus,
    slack,
    statuspage,
)
from tasks.clients.object_store import ObjectStore
from tasks.crews import who_hashes
from tasks.domain import archiving, backup_worth
from tasks.domain.archiving import Archiver
from tasks.domain.errors import RunbookError
from tasks.domain.ledger import NoteSigner
from tasks.domain.ledger.kernel import KERNEL, WHY_NOT_NATIVE
from tasks.domain.observation import Health
from tasks.settings import settings
from tasks.work import audit_table, catalogue, routing
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
from tasks.work.reaching import whom

_ARCHIVER = """
SELECT current_setting('archive_mode') <> 'off', failed_count, coalesce(last_archived_wal, ''),
       now() - last_archived_time, coalesce(last_failed_wal, ''), now() - last_failed_time
  FROM pg_stat_archiver
"""


@dataclass(frozen=True, slots=True)
class Examined:
    """One system. `advice` is empty when nothing is to be mended."""

    system: str
    good: bool
    seen: str
    advice: str
    seconds: float


class NotConfigured(RunbookError):
    """The setting that would name the system is empty; the message says what to set."""


class Lacking(RunbookError):
    """It works; the message says what is missing all the same, the advice how to get it."""


def run(json_file: Path | None) -> int:
    """Look at all at once, print the table; 0 when nothing is to be mended."""
    with ThreadPoolExecutor(max_workers=len(_LOOKS)) as pool:
        results = list(pool.map(_examine, _LOOKS))
    table = Table("", "system", "seen", "ms", "what to do", box=None, pad_edge=False)
    for one in results:
        mark = "ok" if one.good else "NO"
        table.add_row(mark, one.system, one.seen, f"{one.seconds * 1000:.0f}", one.advice)
    terminal.console().print(table, markup=False)
    terminal.write_json(json_file, [asdict(one) for one in results])
    return GOOD if all(one.good for one in results) else COULD_NOT_TELL


def _examine(look: tuple[str, Callable[[], str], str]) -> Examined:
    system, examine, advice = look
    began = time.monotonic()
    try:
        seen, good, todo = examine(), True, ""
    except NotConfigured as absent:
        seen, good, todo = "not configured", False, str(absent)
    except Lacking as error:
        seen, good, todo = str(error)[:200], True, advice
    except RunbookError as error:
        seen, good, todo = str(error)[:200], False, advice
    return Examined(system, good, seen, todo, time.monotonic() - began)


def _connect(dsn: SecretStr) -> AbstractContextManager[Connection[TupleRow]]:
    limit = settings().database.timeout_seconds
    try:
        conninfo.conninfo_to_dict(dsn.get_secret_value())
    except psycopg.ProgrammingError as error:  # its text may quote the password
        raise RunbookError("the DSN is none that PostgreSQL can read") from error
    return postgres.connect(dsn.get_secret_value(), timeout_seconds=limit, statement_seconds=limit)


def _api() -> str:
    answer = audit_api.health(settings().api)
    return f"answers {answer.status}"


def _patient() -> str:
    with _connect(settings().database.reader_dsn) as connection:
        rows = connection.execute("SELECT count(*) FROM audit_records").fetchone()
    return f"audit_records readable, {rows[0] if rows else 0:,} rows"


def _recovery() -> str:
    with _connect(settings().database.recovery_dsn) as connection:
        row = connection.execute(
            "SELECT rolcreatedb, rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    if row is None or not row[0]:
        raise RunbookError("the recovery role may not create databases")
    return "may create databases" + (", is a superuser (more than needed)" if row[1] else "")


def _archiving() -> str:
    with _connect(settings().database.reader_dsn) as connection:
        row = connection.execute(_ARCHIVER).fetchone()
    return _judged(*archiving.judge(Archiver(*row) if row else Archiver(on=False)))


def _backups() -> str:
    return _judged(*backup_worth.judge(catalogue.list_all(), datetime.now(UTC)))


def _judged(health: Health, text: str) -> str:
    if health is Health.HEALTHY:
        return text
    raise (Lacking if health is Health.DEGRADED else RunbookError)(text)


def _cache() -> str:
    cache.ping(settings().cache)
    return "PONG"


def _prometheus() -> str:
    configured = settings().metrics
    if not configured.prometheus_url:
        raise NotConfigured("set RUNBOOK_METRICS__PROMETHEUS_URL")
    return f"{len(prometheus.firing_alerts(configured))} alerts are firing"


def _loki() -> str:
    configured = settings().loki
    if not configured.url:
        raise NotConfigured("set RUNBOOK_LOKI__URL; without it triage reads no logs")
    now = datetime.now(UTC)
    found = len(loki.around(configured, now, now).lines)
    if not found:
        raise Lacking(f"answers, but has no line of {configured.minutes_before} minutes")
    return f"{found} lines"


def _alertmanager() -> str:
    configured = settings().alertmanager
    if not configured.urls:
        raise NotConfigured(
            "set RUNBOOK_ALERTMANAGER__URLS; what it never delivered is not noticed without"
        )
    known = [len(alertmanager.look(configured, url).alerts) for url in configured.urls]
    return f"{len(known)} answer, {max(known)} alerts"


def _policy() -> str:
    return f"{len(routing.current().rules)} routes"


def _sealed_log() -> str:
    store, ledger = settings().store, settings().ledger
    if not ledger.log_key and ledger.trust_file is None:
        raise NotConfigured(
            "set RUNBOOK_LEDGER__TRUST_FILE, or RUNBOOK_LEDGER__LOG_KEY to the sealer's public key"
        )
    log = ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)
    trust = ledger.read_trust()
    head = latest_head(log, trust)
    stale = trust.staleness(head.cosigned, datetime.now(UTC))
    if stale:
        raise RunbookError(stale)
    return f"signed head of size {head.checkpoint.size:,}, {len(head.cosigned)} witnesses"


def _sealer() -> str:
    url = settings().sealer.url
    if not url:
        raise NotConfigured("set RUNBOOK_SEALER__URL; nothing is sealed on schedule without")
    http.call("GET", f"{url}/health", timeout_seconds=5.0)
    return "ready"


def _signing_key() -> str:
    signer = NoteSigner.parse(settings().responder.read_signing_key().get_secret_value())
    return f"signs as {signer.name}"


def _evidence() -> str:
    store = settings().store
    if not ObjectStore(store).locks_objects(store.evidence_bucket):
        raise RunbookError(f"bucket {store.evidence_bucket} has no Object Lock")
    return f"bucket {store.evidence_bucket} has Object Lock"


def _alert_tokens() -> str:
    tokens = settings().gateway.alert_tokens
    if not tokens:
        raise NotConfigured("set RUNBOOK_GATEWAY__ALERT_TOKENS; every alert is refused without")
    return f"{len(tokens)} tokens"


def _responder() -> str:
    with _connect(settings().responder.dsn) as connection:
        rows = connection.execute("SHOW synchronous_commit").fetchone()
    if rows is None or rows[0] == "off":
        raise RunbookError("synchronous_commit is off: an alert could be lost after its 2xx")
    return f"synchronous_commit {rows[0]}"


def _chat() -> str:
    chat = settings().chat
    if not chat.token.get_secret_value():
        raise NotConfigured("set RUNBOOK_CHAT__TOKEN; people are not told without it")
    slack.check(chat)
    return "token accepted"


def _on_call() -> str:
    now = datetime.now(UTC)
    found = [whom(role, now) for role in settings().pagerduty.schedules]
    doubts = [one.doubt for one in found if one.doubt]
    if doubts:
        raise RunbookError("; ".join(doubts))
    if not found:
        raise NotConfigured("set RUNBOOK_PAGERDUTY__SCHEDULES; rotations or the settings say it")
    return f"{len(found)} schedules"


def _status_page() -> str:
    page = settings().status_page
    if not page.is_kept:
        raise NotConfigured("set RUNBOOK_STATUS_PAGE__DIRECTORY; the public is told nothing")
    if page.page_id:
        return f"{statuspage.check(page)} unresolved incidents on it"
    return "kept as files"


def _gateway() -> str:
    said = http.call("GET", f"{settings().gateway.url}/readyz", timeout_seconds=5.0).value
    if said.get("complete") is not True:
        missing = [name for name, there in dict(said.get("ready", {})).items() if there is False]
        raise RunbookError(f"takes alerts, but is not complete: without {', '.join(missing)}")
    return f"takes alerts, {said.get('warm_children')} warm children"


def _hashing() -> str:
    if WHY_NOT_NATIVE:
        raise Lacking(WHY_NOT_NATIVE)
    return f"{KERNEL.name}, two hashes at a time"


def _table_reader() -> str:
    program = audit_table.bulk_program()
    if program is None:
        raise Lacking("psycopg, which takes twice as long as psql")
    return str(program)


_LOOKS: tuple[tuple[str, Callable[[], str], str], ...] = (
    ("audit API", _api, "check RUNBOOK_API__URL and the service"),
    ("PostgreSQL, reader", _patient, "check RUNBOOK_DATABASE__READER_DSN and its SELECT"),
    ("PostgreSQL, recovery", _recovery, "check RUNBOOK_DATABASE__RECOVERY_DSN; CREATEDB"),
    (
        "WAL archiving",
        _archiving,
        "set archive_mode and archive_command (a restart), and take base backups",
    ),
    ("backups", _backups, "runbook restore --list says more; runbook drill proves one"),
    ("Redis", _cache, "check RUNBOOK_CACHE__URL"),
    ("Prometheus", _prometheus, "check RUNBOOK_METRICS__PROMETHEUS_URL"),
    ("Loki", _loki, "check RUNBOOK_LOKI__URL, its token and RUNBOOK_LOKI__QUERY"),
    ("Alertmanager", _alertmanager, "check RUNBOOK_ALERTMANAGER__URLS and its token"),
    ("routing policy", _policy, "runbook policy test; check RUNBOOK_GATEWAY__POLICY_FILE"),
    ("sealed log", _sealed_log, "check RUNBOOK_STORE__* and RUNBOOK_LEDGER__*"),
    ("sealer", _sealer, "start `python -m deployments.sealer`; check RUNBOOK_SEALER__URL"),
    ("responder's PostgreSQL", _responder, "check RUNBOOK_RESPONDER__DSN"),
    ("signing key", _signing_key, "set RUNBOOK_RESPONDER__SIGNING_KEY_FILE, mode 0600"),
    ("evidence bucket", _evidence, "make it with Object Lock; RUNBOOK_STORE__EVIDENCE_BUCKET"),
    ("alert tokens", _alert_tokens, "set RUNBOOK_GATEWAY__ALERT_TOKENS"),
    ("chat", _chat, "check RUNBOOK_CHAT__URL and RUNBOOK_CHAT__TOKEN"),
    ("on-call schedules", _on_call, "check RUNBOOK_PAGERDUTY__*; see runbook contacts"),
    ("status page", _status_page, "check RUNBOOK_STATUS_PAGE__*"),
    (
        "hashing",
        _hashing,
        "hashlib takes six times as long; with a C compiler, install the package again",
    ),
    (
        "hashing workers",
        who_hashes,
        "check RUNBOOK_DASK__*; start workers with the extra `dask` at its scheduler",
    ),
    (
        "table reader",
        _table_reader,
        "install the PostgreSQL client, or set RUNBOOK_DATABASE__CLIENT_BINARIES",
    ),
    ("gateway", _gateway, "start it: python -m deployments.gateway; see its /readyz"),
)
