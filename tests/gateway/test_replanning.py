"""Another run by a person's word: what it needs, what it orders, and that it is ordered once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from tasks.domain.approval import Standing
from tasks.domain.errors import NotApproved, NotPermitted
from tasks.domain.facts import FactKind
from tasks.domain.roles import Role
from tasks.journal import plan_standing
from tasks.work import approvals, incidents, replanning, responder
from tasks.work.people import Person
from tests.gateway import page_stories as stories
from tests.gateway.browsers import Browser, Forms

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]

LogIn = Callable[[str, str], Browser]
BEA, ROSA = Person("bea", Role.APPROVER), Person("rosa", Role.RESPONDER)
GONE = timedelta(seconds=-1)


def orders() -> list[tuple[str, str, int, str]]:
    with responder.connection() as connection:
        return connection.execute(
            "SELECT incident, deployment, priority, component FROM dispatches WHERE done_at IS NULL"
        ).fetchall()


def expired() -> str:
    incident = stories.opened()
    stories.graded(incident, "P1")
    stories.planned(incident, valid_for=GONE)
    return incident


def denied() -> str:
    incident = stories.opened()
    stories.graded(incident, "P1")
    plan = stories.planned(incident)
    approvals.decide(incident, plan.hash, "denied", BEA, "wrong backup")
    return incident


@pytest.mark.parametrize("ended", [expired, denied])
def test_another_run_is_ordered_under_the_persons_name_and_makes_a_new_plan(
    ended: Callable[[], str],
) -> None:
    incident = ended()
    fact = replanning.replan(incident, ROSA)
    assert (fact.kind, fact.actor) == (FactKind.NOTE, "rosa")
    assert fact.data["text"] == "rosa asks for a new plan"
    assert orders() == [(incident, incidents.INCIDENT, 1, "api")]
    assert plan_standing(incident) is Standing.NONE


def test_approved_plan_whose_run_has_stopped_goes_on_and_is_not_made_anew() -> None:
    incident = stories.opened()
    plan = stories.planned(incident)
    approvals.decide(incident, plan.hash, "approved", BEA, "")
    replanning.replan(incident, ROSA)
    assert len(orders()) == 1
    assert plan_standing(incident) is Standing.APPROVED


def test_second_click_finds_the_first_and_another_person_hears_that_it_is_ordered() -> None:
    incident = expired()
    first = replanning.replan(incident, ROSA)
    assert replanning.replan(incident, ROSA) == first
    with pytest.raises(NotApproved, match="ordered or at work already"):
        replanning.replan(incident, BEA)
    assert len(orders()) == 1
    finish()
    assert replanning.replan(incident, BEA).seq > first.seq
    assert len(orders()) == 1


def finish() -> None:
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = clock_timestamp()")


def test_of_many_who_ask_at_once_one_is_heard() -> None:
    incident = expired()

    def ask(number: int) -> bool:
        try:
            replanning.replan(incident, Person(f"person {number}", Role.RESPONDER))
        except NotApproved:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(ask, range(6))) == 1
    assert len(orders()) == 1


def test_plan_that_waits_is_decided_on_first() -> None:
    incident = stories.opened()
    stories.planned(incident)
    with pytest.raises(NotApproved, match="waits for a decision"):
        replanning.replan(incident, ROSA)
    assert orders() == []


def test_closed_incident_gets_no_other_run() -> None:
    incident = stories.closed()
    with pytest.raises(NotApproved, match="closed"):
        replanning.replan(incident, ROSA)
    assert orders() == []


def test_who_only_looks_on_asks_for_nothing() -> None:
    incident = expired()
    with pytest.raises(NotPermitted):
        replanning.replan(incident, Person("vera", Role.VIEWER))
    assert orders() == []


def test_button_is_there_while_it_does_something(log_in: LogIn) -> None:
    incident = expired()
    page, action = f"/i/{incident}", f"/i/{incident}/replan"
    assert action not in Forms.on(log_in("vera", "viewer").get(page).text)
    rosa = log_in("rosa", "responder")
    assert "Make a new plan" in rosa.get(page).text
    answer = rosa.send(page, action)
    assert answer.status_code == 303, answer.text
    after = rosa.get(answer.headers["Location"]).text
    assert "Another run is ordered" in after
    assert "rosa asks for a new plan" in after
    assert action not in Forms.on(after)
    waits = stories.opened(component="cache")
    stories.planned(waits)
    assert f"/i/{waits}/replan" not in Forms.on(rosa.get(f"/i/{waits}").text)


def test_programs_ask_the_same_way(person: Callable[[str, str], httpx.Client]) -> None:
    incident = expired()
    path = f"/incidents/{incident}/replan"
    assert person("vera", "viewer").post(path).status_code == 403
    rosa = person("rosa", "responder")
    answer = rosa.post(path)
    assert (answer.status_code, answer.json()["by"]) == (200, "rosa")
    assert person("carl", "approver").post(path).status_code == 409
    assert rosa.post("/incidents/INC-none/replan").status_code == 404
    assert len(orders()) == 1
