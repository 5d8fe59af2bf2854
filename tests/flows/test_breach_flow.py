"""A suspected breach on the whole stack: held, told, preserved, looked at, and left to people."""

from typing import Any

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.holds import EVERYTHING
from tasks.domain.incident import Stage
from tasks.work import journal
from tests.flows.responding import Responding, alert_of

pytestmark = [pytest.mark.flows, pytest.mark.slow]

_FORGED = {"alertname": "SuspiciousAuthenticationPattern", "severity": "high"}
_STEPS = {
    *("breach.investigate.access-logs", "breach.investigate.audit-trail"),
    *("breach.investigate.users", "breach.investigate.system"),
}


def place(facts: list[Any], kind: FactKind, **data: object) -> int:
    """Of the first such fact."""
    return next(
        number
        for number, fact in enumerate(facts)
        if fact.kind is kind and all(fact.data.get(key) == each for key, each in data.items())
    )


def test_everything_is_held_first_then_preserved_and_nothing_is_changed_unasked(
    responding: Responding,
) -> None:
    before = responding.production()
    name = responding.notify(alert_of(_FORGED))
    sealed = responding.until_fact(name, FactKind.EVIDENCE_SEALED)
    responding.until_idle(name)
    state = journal.read(name)
    held = place(state.facts, FactKind.HOLD_SET, scope=EVERYTHING)
    assert held < place(state.facts, FactKind.CHECK_OBSERVED)
    assert held < place(state.facts, FactKind.EVIDENCE_SEALED, scope=EVERYTHING)
    assert sealed.data["hold"] == state.facts[held].seq
    assert state.facts[held].data["review_at"]
    assert all(hold.sealed for hold in state.held())
    assert {*state.checks} >= _STEPS
    if state.plan is not None:  # the lab's own records may hold users who were denied often
        assert place(state.facts, FactKind.EVIDENCE_SEALED, scope=EVERYTHING) < place(
            state.facts, FactKind.PLAN_PROPOSED
        )
    assert (state.begun, state.stage is Stage.CLOSED) == (set(), False)
    assert responding.production() == before

    responding.run_again(name)  # a run that begins again holds once and seals once
    again = journal.read(name)
    for kind in (FactKind.HOLD_SET, FactKind.EVIDENCE_SEALED):
        assert len([fact for fact in again.facts if fact.kind is kind]) == 1
