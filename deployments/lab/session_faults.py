"""Faults that sessions make: nothing is damaged, but the database serves nobody any more."""

import json
import sys
import time

from deployments.lab.damage import Damage
from deployments.lab.environment import clean_environment
from deployments.lab.parts import Parts
from deployments.lab.patient import DATABASE, OWNER
from deployments.lab.processes import Child

MIGRATOR = "audit_migrator"
REPORTING = "audit_reporting"

_START_SECONDS = 60.0
_NOTICED_SECONDS = 4.0
"""No monitor raises an alarm at once: a rule waits until it has been so for a while."""


def lock_storm(lab: Parts) -> Damage:
    """A migration by hand was begun, locks the table, and nobody ends it."""
    culprits, others = misbehaving(lab, "lock-storm", MIGRATOR)
    return Damage(
        f"a forgotten migration locks audit_records; {len(others)} sessions and the API wait",
        cause="db.lock-storm",
        culprits=culprits,
    )


def connections_exhausted(lab: Parts) -> Damage:
    """A dashboard leaks connections until the server takes no more."""
    culprits, _ = misbehaving(lab, "connections-exhausted", REPORTING)
    return Damage(
        f"a dashboard leaks {len(culprits)} connections: no slot is left",
        cause="db.connections-exhausted",
        culprits=culprits,
    )


def slow_queries(lab: Parts) -> Damage:
    """Somebody runs queries without an end."""
    culprits, _ = misbehaving(lab, "slow-queries", REPORTING)
    return Damage(
        f"{len(culprits)} queries without an end keep the processors busy",
        cause="db.slow-queries",
        culprits=culprits,
    )


def misbehaving(lab: Parts, kind: str, role: str) -> tuple[frozenset[int], frozenset[int]]:
    """Have a process misbehave as `role`, and wait until it has been so for a while.

    (pids of the sessions that cause it, pids of others that suffer).
    """
    for login in (MIGRATOR, REPORTING):
        lab.patient.add_login(login)
    with lab.patient.connect(DATABASE) as connection:
        connection.execute(f"GRANT {OWNER} TO {MIGRATOR}")
        connection.execute(f"GRANT SELECT ON audit_records TO {REPORTING}")
    child = lab.processes.start(
        f"sessions-{kind}-{time.monotonic_ns()}",
        [sys.executable, "-m", "deployments.lab.sessions", kind],
        environment={
            **clean_environment(),
            "LAB_SESSIONS_DSN": lab.patient.dsn(role, DATABASE),
            "LAB_SESSIONS_OTHERS_DSN": lab.patient.dsn(REPORTING, DATABASE),
        },
    )
    child.wait_ready(lambda: bool(_said(child)), _START_SECONDS)
    said = json.loads(_said(child))
    time.sleep(_NOTICED_SECONDS)
    return frozenset(said["culprits"]), frozenset(said["others"])


def _said(child: Child) -> str:
    """The line that it prints when the trouble is there; empty until then."""
    lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return next((line for line in lines if line.startswith("{") and line.endswith("\n")), "")
