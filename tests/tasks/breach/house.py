"""A server with roles that may be suspected, and an incident whose plan isolates them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from tasks.clients.role_locks import roles
from tasks.domain.facts import FactKind
from tasks.domain.isolation import Lock
from tasks.domain.isolation_plan import Isolating, Suspect, plan_isolation
from tasks.domain.plan import Plan
from tasks.domain.preserved import Preserved
from tasks.domain.untrusted import visible
from tasks.work import approvals, incidents, journal
from tasks.work.people import Person, Role

BEA = Person("bea", Role.APPROVER)
SAM = Person("sam", Role.SECURITY)
ROSA = Person("rosa", Role.RESPONDER)
EVE = 'e"ve\u202e; DROP ROLE postgres; --'
"""A name that would end a statement, and lie to the eye."""

LOGINS = ("mallory", "audit_api", "break_glass", "nobodys", EVE)


@dataclass(frozen=True)
class House:
    """`superuser`: its DSN on the maintenance database."""

    superuser: str

    def run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            query = sql.SQL(statement)
            connection.execute(query.format(*map(sql.Identifier, names)))

    def dsn(self, role: str, application: str = "psql") -> str:
        return psycopg.conninfo.make_conninfo(
            self.superuser, user=role, application_name=application
        )

    @contextmanager
    def session(self, role: str, application: str = "psql") -> Iterator[psycopg.Connection]:
        connection = psycopg.connect(self.dsn(role, application), autocommit=True)
        yield connection
        with suppress(psycopg.Error):
            connection.close()

    def suspect(self, role: str, lock: Lock = Lock.ALLOWED) -> Suspect:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            oid = next(each.oid for each in roles(connection) if each.name == role)
        return Suspect(oid, visible(role, 63), lock)

    def state_of(self, role: str) -> tuple[bool, str]:
        """Whether it may log in, and who has locked it."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            found = next(each for each in roles(connection) if each.name == role)
        return found.account.can_login, found.locked_by

    def approved(self, *suspects: Suspect, addresses: tuple[str, ...] = ()) -> Plan:
        """A new incident's plan to isolate these, approved as it must be."""
        with incidents.durably() as connection:
            incident = incidents.open_in(
                connection, "suspected", "security", "breach", "alert", "runbook"
            )
        evidence = Preserved(incident, "*", 3, f"evidence/{incident}/3", 7)
        isolating = Isolating(240, 3, None, suspects, addresses)
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        plan = plan_isolation(evidence, isolating, "rlhf_audit", "seen", expires_at)
        data = {"plan": plan.as_json(), "hash": plan.hash, "expires_at": expires_at.isoformat()}
        journal.append(incident, FactKind.PLAN_PROPOSED, data)
        for person in (BEA, SAM)[: plan.approvers_needed]:
            approvals.decide(incident, plan.hash, "approved", person, "go on")
        return plan


def evidence_of(plan: Plan) -> Preserved:
    """What such a plan was made with."""
    return Preserved(plan.incident, "*", 3, f"evidence/{plan.incident}/3", 7)


def alive(session: psycopg.Connection) -> bool:
    """Whether the server still answers it."""
    try:
        session.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True
