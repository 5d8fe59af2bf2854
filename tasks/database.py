"""Checks of PostgreSQL."""

from prefect import task

from tasks.clients import postgres
from tasks.clients.pod_answers import postgres_says
from tasks.domain.observation import Health, Observation
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe
from tasks.work.seen_twice import seen_twice


@task(name="Check database", tags={"runbook:triage.database"}, **READ)
def check_database(incident: str) -> Observation:
    """`pg_isready` in the pod, and more than it: a login from outside, and the audit table."""

    def probe() -> Seen:
        configured = settings().database
        return seen_twice(_log_in, postgres_says, configured.pod, configured.timeout_seconds)

    return observe(incident, "triage.database", "database", probe)


def _log_in() -> Seen:
    """A real connection, as whoever needs the database makes it."""
    configured = settings().database
    with postgres.connect(
        configured.reader_dsn.get_secret_value(),
        timeout_seconds=configured.timeout_seconds,
        statement_seconds=configured.timeout_seconds,
    ) as connection:
        if not postgres.table_exists(connection, "public.audit_records"):
            return Seen(Health.FAILED, "accepts connections, but audit_records is missing")
        row = connection.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = %s),"
            " current_setting('max_connections')::int,"
            " (SELECT max(seq) FROM public.audit_records)",
            ("client backend",),
        ).fetchone()
    used, limit, newest = row or (0, 0, None)
    evidence = {"connections": used, "max_connections": limit, "newest_seq": newest}
    text = f"{used} of {limit} connections, newest record {newest}"
    return Seen(Health.HEALTHY, text, evidence)
