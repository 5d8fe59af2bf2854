"""A journal of which one line cannot be read: all the rest is shown, and that is said."""

from collections.abc import Callable

import httpx
import pytest

from tasks.domain.facts import FactKind
from tasks.work import responder
from tests.gateway import page_stories as stories
from tests.gateway.browsers import Browser, Forms
from tests.gateway.stack import spoil

pytestmark = pytest.mark.components

LogIn = Callable[[str, str], Browser]
People = Callable[[str, str], httpx.Client]
WORDS = "cannot be read: verify the journal"


def spoil_with(incident: str, line: str) -> None:
    with responder.connection() as connection:
        connection.execute(
            "UPDATE journal SET line = %s::text::bytea WHERE incident = %s", (line, incident)
        )


@pytest.mark.parametrize("line", ["{", "{}", "[]", '{"seq": 1, "kind": 7, "at": 3}'])
def test_list_shows_the_others_and_says_which_cannot_be_read(log_in: LogIn, line: str) -> None:
    broken, over = stories.opened("lost words"), stories.closed("was mended")
    stories.opened("still readable", "cache")
    for incident in (broken, over):
        spoil_with(incident, line)
    answer = log_in("bea", "approver").get("/")
    assert answer.status_code == 200
    text = answer.text
    assert "still readable" in text
    assert "2 open incidents" in text
    trouble = text[text.index('id="trouble"') : text.index('id="waiting"')]
    is_open = text[text.index('id="open"') : text.index('id="closed"')]
    was_closed = text[text.index('id="closed"') :]
    assert f"{broken} {WORDS}" in trouble
    assert f"/i/{broken}" in is_open
    assert WORDS in is_open
    assert f"/i/{over}" in was_closed
    assert f"/i/{over}" not in is_open


def test_page_of_what_cannot_be_read_says_so_and_takes_no_words(log_in: LogIn) -> None:
    incident = stories.opened()
    bea = log_in("bea", "approver")
    csrf = {"csrf": Forms.on(bea.get("/quarantine").text)["/logout"]["csrf"]}
    spoil(incident)
    shown = bea.get(f"/i/{incident}")
    assert (shown.status_code, "This cannot be shown" in shown.text) == (422, True)
    assert WORDS in shown.text
    for act in ("note", "acknowledge", "replan"):
        answer = bea.client.post(f"/i/{incident}/{act}", data=csrf | {"text": "my words"})
        assert answer.status_code == 422, act
        assert "text/html" in answer.headers["Content-Type"]


def test_programs_are_told_the_same_and_never_500(person: People) -> None:
    broken, whole = stories.opened(), stories.opened("fine", "cache")
    spoil(broken)
    bea = person("bea", "approver")
    listed = bea.get("/incidents").json()
    found = {one["id"]: one for one in listed["incidents"]}
    assert (found[broken]["title"], found[broken]["stage"]) == (WORDS, "unreadable")
    assert set(found[broken]) == set(found[whole])
    assert found[whole]["title"] == "fine"
    assert [WORDS in problem for problem in listed["problems"]] == [True]
    path = f"/incidents/{broken}"
    answers = [bea.get(path), bea.get(f"{path}/plan"), bea.get(f"/reports/{broken}/{'0' * 64}.pdf")]
    answers += [
        bea.post(f"{path}/notes", json={"text": "t"}),
        bea.post(f"{path}/plans/{'0' * 64}/approve"),
        bea.post(f"{path}/replan"),
    ]
    for answer in answers:
        assert answer.status_code == 422, answer.url
        assert set(answer.json()) == {"error", "expected", "found", "next"}


@pytest.mark.parametrize("line", ["{", "{}"])
def test_metrics_count_it_without_a_severity(gateway: str, line: str) -> None:
    broken, whole = stories.opened(), stories.opened("fine", "cache")
    for incident in (broken, whole):
        stories.graded(incident, "P1", reason='not "severity":"P0"')
    spoil_with(broken, line)
    answer = httpx.get(f"{gateway}/metrics")
    assert answer.status_code == 200
    for severity, count in (("P0", 0), ("P1", 1), ("none", 1)):
        assert f'runbook_incidents_open{{severity="{severity}"}} {count}.0' in answer.text


def test_hold_that_cannot_be_read_hides_no_page_and_is_said_on_each(log_in: LogIn) -> None:
    broken, whole = stories.opened(component="cache"), stories.opened()
    stories.planned(whole)
    stories.tell(broken, FactKind.HOLD_SET, {"scope": "*", "reason": "r", "needs": "evidence"})
    spoil(broken)
    bea = log_in("bea", "approver")
    for path in ("/", f"/i/{whole}"):
        answer = bea.get(path)
        assert answer.status_code == 200
        assert "What is held cannot be read" in answer.text
