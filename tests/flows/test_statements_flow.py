"""What people say before any alert: the response to it, by the real flows."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.domain.severity import Severity
from tasks.work import journal, statements
from tasks.work.people import Person, Role
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows

BEA = Person("bea", Role.APPROVER)


def test_a_hold_on_every_change_is_triaged_told_lifted_and_closed_with_a_report(
    responding: Responding,
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    name = statements.hold_everything(BEA, "the auditors are here", until)
    responding.until_idle(name)
    state = journal.read(name)
    assert state.checks, "a severity that a person chose first is no reason to look at nothing"
    assert (state.stage, state.severity) == (Stage.OPEN, Severity.P3)
    (hold,) = state.held()
    assert f"hold.set.*.{hold.seq}" in state.escalations
    told = [text for text in responding.said_in_chat() if "the auditors are here" in text]
    assert told
    assert told[0].startswith("@on-call ")

    statements.lift_from_everything(BEA, "they have left")
    statements.close(name, BEA, "over")
    responding.until_fact(name, FactKind.REPORTED)
    responding.until_idle(name)
    assert (journal.read(name).stage, journal.read(name).outcome) == (
        Stage.CLOSED,
        "closed by hand",
    )
