"""Checks of the audit API: the runbook's curl lines."""

from prefect import task

from tasks.clients import audit_api
from tasks.domain.observation import Health, Observation
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe


@task(name="Check API health", tags={"runbook:triage.api-health"}, **READ)
def check_api_health(incident: str) -> Observation:
    """`curl -f /health`: status and latency."""
    configured = settings().api

    def probe() -> Seen:
        answer = audit_api.health(configured)
        said = answer.value.get("status") if isinstance(answer.value, dict) else None
        evidence = {"http_status": answer.status, "milliseconds": round(answer.seconds * 1000)}
        if answer.status == 200 and said in {"ok", "healthy"}:  # noqa: PLR2004 - HTTP OK
            text = f"healthy in {evidence['milliseconds']} ms"
            return Seen(Health.HEALTHY, text, evidence)
        return Seen(Health.FAILED, f"answers {answer.status}, status {str(said)[:40]!r}", evidence)

    return observe(incident, "triage.api-health", "api", probe, configured.timeout_seconds)


@task(name="Ask the API to verify integrity", tags={"runbook:audit.diagnosis.integrity"}, **READ)
def check_api_integrity(incident: str) -> Observation:
    """`curl /api/v1/audit/integrity/verify`: the API's own word, which proves nothing alone."""

    def probe() -> Seen:
        said = audit_api.get(settings().api, "audit/integrity/verify")
        anomalies = said.get("anomalies_detected")
        text = f"the API says {str(said.get('status'))[:40]!r}, anomalies {str(anomalies)[:20]}"
        good = said.get("status") == "verified" and not anomalies
        evidence = {name: said.get(name) for name in ("status", "records_verified")}
        return Seen(Health.HEALTHY if good else Health.FAILED, text, evidence)

    return observe(incident, "audit.diagnosis.integrity", "audit-trail", probe)


@task(name="Read recent audit records", tags={"runbook:audit.diagnosis.records"}, **READ)
def check_recent_records(incident: str) -> Observation:
    """`curl /api/v1/audit/records?limit=10`: whether new records arrive; not their content."""

    def probe() -> Seen:
        said = audit_api.get(settings().api, "audit/records", limit=10)
        records = said.get("records")
        if not isinstance(records, list) or not records:
            return Seen(Health.FAILED, "the API returns no recent records")
        seqs = [item.get("seq") for item in records if isinstance(item, dict)]
        evidence = {"seqs": [seq for seq in seqs if isinstance(seq, int)]}
        return Seen(Health.HEALTHY, f"newest records {evidence['seqs'][:3]}", evidence)

    return observe(incident, "audit.diagnosis.records", "audit-trail", probe)


@task(name="Ask the API for the Merkle root", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def check_api_merkle(incident: str) -> Observation:
    """`curl /api/v1/audit/merkle/verify`: the API's own root, to compare with the signed one."""

    def probe() -> Seen:
        said = audit_api.get(settings().api, audit_api.MERKLE)
        evidence = {
            name: str(said.get(name))[:100] for name in ("status", "tree_size", "root_hash")
        }
        good = said.get("status") in {"valid", "verified", "ok"}
        text = f"the API says {evidence['status']!r} at size {evidence['tree_size']}"
        return Seen(Health.HEALTHY if good else Health.FAILED, text, evidence)

    return observe(incident, "audit.diagnosis.merkle", "audit-trail", probe)
