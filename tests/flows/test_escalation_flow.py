"""The escalation matrix: the ticker finds what is due, the flow carries it out once."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.ledger import GENESIS_PREV, canonical_line, leaf_hash
from tasks.work import incidents, journal, responder
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows

_INSERT = """
INSERT INTO journal (seq, incident, key, at, kind, actor, line, leaf)
VALUES (0, %s, 'opened:api', %s, %s, %s, %s, %s)
"""


def test_an_incident_of_sixteen_minutes_is_escalated_once(responding: Responding) -> None:
    name = "INC-20261123-030000-0016"
    _open_since(name, timedelta(minutes=16))
    escalated = responding.until_fact(name, FactKind.ESCALATED)
    responding.until_idle(name)
    assert escalated.data["step"] == "escalation.engineering-lead"

    key = f"{name}:escalate-again"
    assert incidents.enqueue(name, incidents.ESCALATION, key)
    responding.until_idle(name)
    assert [fact.data["to"] for fact in responding.facts(name, FactKind.ESCALATED)] == [
        "engineering-lead"
    ]
    told = [text for text in responding.said_in_chat() if name in text]
    assert len(told) == 1
    assert told[0].startswith("@engineering-lead ")
    assert len(journal.read(name).escalations) == 1


def _open_since(incident: str, age: timedelta) -> None:
    """The first fact of an empty journal, as it was written that long ago."""
    at = datetime.now(UTC) - age
    line = canonical_line(
        {
            "_prev": GENESIS_PREV,
            "actor": RUNBOOK,
            "at": at.isoformat(),
            "data": {"title": "API: down", "component": "api", "procedure": "api_service"},
            "incident": incident,
            "kind": FactKind.OPENED.value,
            "seq": 0,
        }
    )
    values = (incident, at, FactKind.OPENED.value, RUNBOOK, line, leaf_hash(line))
    with responder.connection() as connection:
        connection.execute(_INSERT, values)
