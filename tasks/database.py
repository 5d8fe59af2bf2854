"""Checks of PostgreSQL."""

from prefect import task

from tasks.clients import postgres
from tasks.domain.observation import Health, Observation
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe


@task(name="Check database", tags={"runbook:triage.database"}, **READ)
def check_database(incident: str) -> Observation:
    """`pg_isready`, and more than it: a real login, and the audit table is there and readable."""

    def probe() -> Seen:
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

    return observe(incident, "triage.database", "database", probe)
