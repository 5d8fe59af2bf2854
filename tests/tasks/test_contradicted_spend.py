"""Privacy spend that is contradicted after a restore keeps releases back."""

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.reconciled import Reconciled, What
from tasks.work import journal
from tasks.work.proof_in_service import hold_contradicted
from tests.tasks.proposals import approved

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

TABLE = "public.privacy_budgets"


def held(incident: str) -> list[tuple[object, object]]:
    facts = journal.read(incident).facts
    return [
        (fact.data["scope"], fact.data["reason"])
        for fact in facts
        if fact.kind is FactKind.HOLD_SET
    ]


def test_what_is_contradicted_holds_releases_once_however_often_it_is_said() -> None:
    incident = approved().incident

    for _ in range(2):  # before the renames, and once they are done
        hold_contradicted(incident, Reconciled({TABLE: {What.FELL: 2, What.CARRIED: 9}}))

    [(scope, reason)] = held(incident)
    assert scope == "privacy-engine/release"
    assert "spend fell: 2" in str(reason)


def test_spend_that_nothing_contradicts_holds_nothing() -> None:
    incident = approved().incident

    hold_contradicted(incident, Reconciled({TABLE: {What.CARRIED: 9, What.RAISED: 1}}))

    assert held(incident) == []
