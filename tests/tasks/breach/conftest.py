"""One PostgreSQL for both sides: the roles under care, and the responder's journal."""

from collections.abc import Iterator

import psycopg
import pytest

from deployments.lab.patient import grant_isolation
from tasks.settings import settings
from tasks.work import responder
from tests.postgres_fixture import AuditDatabase
from tests.tasks.breach.house import EVE, LOGINS, House

_OURS = "audit_isolation"


@pytest.fixture
def house(
    postgres_server: str, audit_database: AuditDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    made = House(postgres_server)
    for role in LOGINS:
        made.run("CREATE ROLE {} LOGIN", role)
    made.run("CREATE ROLE {} LOGIN CREATEROLE", _OURS)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        grant_isolation(connection, ("audit_api",))
    for role in ("mallory", "break_glass", EVE):
        made.run("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", role, _OURS)
    for name, value in {
        "RESPONDER__DSN": audit_database.owner,
        "DATABASE__NAME": "rlhf_audit",
        "DATABASE__READER_DSN": audit_database.reader,
        "DATABASE__RECOVERY_DSN": postgres_server,
        "BREACH__ISOLATION_DSN": made.dsn(_OURS),
        "BREACH__END_SECONDS": "5",
        "GATEWAY__WATCHDOG_MINUTES": "0",
        "STORE__ENDPOINT_URL": "http://127.0.0.1:1",  # evidence is asked for by no test here
        "STORE__ACCESS_KEY_ID": "nobody",
        "STORE__SECRET_ACCESS_KEY": "nothing",
    }.items():
        monkeypatch.setenv(f"RUNBOOK_{name}", value)
    settings.cache_clear()
    responder.close()
    responder.migrate()
    yield made
    responder.close()
    for role in (*LOGINS, _OURS):
        made.run("DROP OWNED BY {} CASCADE", role)
        made.run("DROP ROLE {}", role)
