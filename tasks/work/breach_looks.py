"""Reading what shows a breach: access logs, the audit trail and the API's own word.

Nothing is changed. Every look says in its evidence only counts, times and addresses; names stay in
what it answers.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.clients import audit_api, loki
from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_identity import is_configured
from tasks.domain import breach_findings
from tasks.domain.access_log import Investigation, Pattern, investigate
from tasks.domain.breach_findings import Listed, Suspects
from tasks.domain.errors import BadInput
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.domain.log_lines import LogLine
from tasks.domain.observation import Health
from tasks.domain.selectors import Operator, Requirement, Selector
from tasks.settings import Settings
from tasks.work.checks import Seen
from tasks.work.pod_logs import read_pod_logs

ATTEMPTS = 100
"""Newest attempts at access that are read; the bag of evidence holds them as well."""

_REASON = 200

NO_LINES = "no access logs were read: neither Loki nor a cluster is configured, or none answers"


@dataclass(frozen=True, slots=True)
class AccessLogs:
    """What the lines say; `bins` are refusals over time."""

    found: Investigation
    bins: list[tuple[datetime, int]] = field(default_factory=list)
    suspects: Suspects = field(default_factory=Suspects)

    @property
    def grave(self) -> int:
        """Actors that were let in after refusals, or that the system has marked."""
        looked = (set(actor.patterns) for actor in self.found.suspects)
        return sum(bool(each & {Pattern.SUCCEEDED, Pattern.MARKED}) for each in looked)


NOTHING_READ = AccessLogs(Investigation(0, 0, (), 0))


def access_logs(known: Settings, onset: datetime) -> tuple[AccessLogs, Seen]:
    """The lines of the window, read for what they are."""
    try:
        lines, where, is_cut = _lines(known, onset)
    except (ClientError, BadInput) as error:
        return NOTHING_READ, Seen(Health.UNKNOWN, f"access logs not read: {error}"[:_REASON])
    if where == "":
        return NOTHING_READ, Seen(Health.UNKNOWN, NO_LINES)
    since = onset - timedelta(minutes=known.breach.window_minutes)
    kept = breach_findings.within(lines, since)
    found = investigate(kept)
    logs = AccessLogs(
        found,
        breach_findings.refusals_over_time(kept),
        breach_findings.suspects_in(found, known.breach.spared_addresses),
    )
    text = (
        f"{found.lines} lines of {where}, {found.requests} requests, {found.refused} refused (401, "
        f"403); {len(found.suspects)} suspicious actors, {logs.grave} of them let in or marked"
    )
    evidence = breach_findings.public(found) | {"read from": where, "since": since.isoformat()}
    if is_cut:
        text += "; there were more lines than could be read"
    health = Health.UNKNOWN if is_cut or not kept else Health.HEALTHY
    return logs, Seen(Health.DEGRADED if found.suspects else health, text, evidence)


def audit_trail(known: Settings) -> Seen:
    """Attempts at access in the audit trail: how many of the newest were denied, and from where."""
    said = audit_api.get(known.api, "audit/records", event_type="access_attempt", limit=ATTEMPTS)
    found = breach_findings.read_attempts(said)
    text = (
        f"{found.denied} of the newest {found.count} attempts at access were denied{_when(found)}"
    )
    return Seen(Health.DEGRADED if found.denied else Health.HEALTHY, text, found.as_json())


def suspicious_users(known: Settings) -> tuple[Listed, Seen]:
    """Users whom the system itself calls suspicious: counted, and named nowhere."""
    found = breach_findings.read_users(audit_api.get(known.api, "users/activity/suspicious"))
    text = f"the API lists {found.count} users as suspicious, {found.denied} denials{_when(found)}"
    return found, Seen(Health.DEGRADED if found.count else Health.HEALTHY, text, found.as_json())


def system_integrity(known: Settings, incident: Incident) -> Seen:
    """The API's check of itself beside what the signatures prove: the proof decides."""
    said = audit_api.get(known.api, "system/integrity/check")
    status = str(said.get("status"))[:40]
    ours = str((incident.diagnosis or {}).get("verdict", "not known"))
    evidence: dict[str, Any] = {"api": status, "ours": ours}
    text = f"the API says {status!r} of itself; our own verdict is {ours!r}"
    if ours == Status.TAMPERED:
        contradicts = "; who altered the log may have altered the API" * (status == "ok")
        return Seen(Health.FAILED, f"{text}{contradicts}", evidence)
    if status != "ok":
        return Seen(Health.FAILED, text, evidence)
    return Seen(Health.HEALTHY if ours == Status.VERIFIED else Health.UNKNOWN, text, evidence)


def _when(found: Listed) -> str:
    if found.first is None or found.last is None:
        return ""
    return f", from {found.first:%Y-%m-%d %H:%M} to {found.last:%Y-%m-%d %H:%M} UTC"


def _lines(known: Settings, onset: datetime) -> tuple[tuple[LogLine, ...], str, bool]:
    """From Loki, which keeps more; from the pods where it does not answer. Empty: from nowhere.

    The last says whether there were more of them.
    """
    failed: ClientError | None = None
    if known.loki.url:
        try:
            window = known.loki.model_copy(update={"minutes_before": known.breach.window_minutes})
            found = loki.around(window, onset, datetime.now(UTC))
        except ClientError as error:
            failed = error
        else:
            return found.lines, "Loki", found.cut
    if is_configured(known.kubernetes):
        logs = read_pod_logs(known.kubernetes, _selector(known.breach.labels))
        return logs.lines, f"{logs.read} of {logs.sources} containers", logs.read < logs.sources
    if failed is not None:
        raise failed
    return (), "", False


def _selector(labels: dict[str, str]) -> Selector:
    return Selector(
        tuple(Requirement(key, Operator.IN, (value,)) for key, value in sorted(labels.items()))
    )
