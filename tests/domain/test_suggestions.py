"""What a journal suggests to change: a row for each rule, and silence where nothing speaks."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.readings import read
from tasks.domain.suggestions import ALERT_RULE, RUNBOOK_LINE, SETTING, Suggestion, suggestions
from tests.builders import ALERT_AT, JournalBuilder, alert_fact
from tests.story import full_journal

LATER = ALERT_AT + timedelta(days=2)
OPENED = {"title": "API: slow", "component": "api", "procedure": "api_service", "cause": "alert"}
By = Callable[[JournalBuilder], object]


def opened(cause: str = "alert") -> JournalBuilder:
    by = "ada" if cause == "person" else "runbook"
    return JournalBuilder().add(0.0, FactKind.OPENED, OPENED | {"cause": cause}, by)


def acknowledged(story: JournalBuilder) -> JournalBuilder:
    data = {"text": "acknowledged", "acknowledged": True}
    return story.add(1.0, FactKind.NOTE, data, "ada")


def found(story: JournalBuilder) -> list[Suggestion]:
    state = story.incident_state()
    return list(suggestions(state, read(state, LATER)))


def firing(story: JournalBuilder, at: float, status: str = "firing") -> None:
    story.add(at, FactKind.ALERT_RECEIVED, alert_fact() | {"status": status})


def flapped(story: JournalBuilder) -> None:
    for at in (1.0, 3.0, 5.0):
        firing(story, at)
        firing(story, at + 1, "resolved")


def slow(story: JournalBuilder) -> None:
    started = (ALERT_AT - timedelta(minutes=9)).isoformat()
    story.add(0.5, FactKind.ALERT_RECEIVED, alert_fact() | {"starts_at": started})


def graded(story: JournalBuilder) -> None:
    for by, severity in (("runbook", "P2"), ("bea", "P0")):
        data = {"severity": severity, "rule": "r", "reason": "users cannot log in"}
        story.add(2.0, FactKind.SEVERITY_ASSIGNED, data, by)


TABLE: list[tuple[str, By, str, str]] = [
    ("slow", slow, ALERT_RULE, "after its own startsAt"),
    ("flapping", flapped, ALERT_RULE, "fired 3 times and resolved 3 times"),
    ("graded", graded, ALERT_RULE, "bea raised it: users cannot log in"),
    (
        "by hand",
        lambda story: story.add(
            9.0, FactKind.CLOSED, {"outcome": "closed by hand", "summary": "restarted it"}, "ada"
        ),
        RUNBOOK_LINE,
        "closed by hand: restarted it",
    ),
    (
        "no cause",
        lambda story: story.add(2.0, FactKind.CAUSES_FOUND, {"component": "api", "causes": []}),
        RUNBOOK_LINE,
        "found no cause",
    ),
    (
        "failed",
        lambda story: story.add(
            2.0, FactKind.STEP_FAILED, {"step": "api.resolution.restart", "error": "no room"}
        ),
        RUNBOOK_LINE,
        "no room",
    ),
    (
        "denied",
        lambda story: story.add(
            2.0, FactKind.PLAN_DECIDED, {"decision": "denied", "reason": "too broad"}, "bea"
        ),
        RUNBOOK_LINE,
        "bea denied the plan: too broad",
    ),
    (
        "expired",
        lambda story: story.add(2.0, FactKind.PLAN_DECIDED, {"decision": "expired"}),
        SETTING,
        "expired before anybody decided",
    ),
    (
        "glass",
        lambda story: story.add(2.0, FactKind.GLASS_BROKEN, {"reason": "cannot wait"}, "bea"),
        SETTING,
        "the glass was broken: cannot wait",
    ),
    (
        "unheard",
        lambda story: story.add(
            2.0, FactKind.NOTIFY_FAILED, {"audience": "dpo", "moment": "privacy", "error": "e"}
        ),
        SETTING,
        "did not arrive by any way",
    ),
]


@pytest.mark.parametrize(("name", "happens", "of", "because"), TABLE, ids=[row[0] for row in TABLE])
def test_what_happened_suggests_one_change(name: str, happens: By, of: str, because: str) -> None:
    story = acknowledged(opened())
    assert found(story) == []
    happens(story)
    (made,) = found(story)
    assert (made.of, because in made.because) == (of, True), name
    assert made.facts
    assert set(made.facts) <= {fact.seq for fact in story.facts}


def test_what_only_a_person_saw_asks_for_an_alert_rule() -> None:
    (made,) = found(acknowledged(opened("person")))
    assert (made.of, made.proposal) == (ALERT_RULE, "Add an alert rule that sees this of api")


def test_an_alert_that_a_person_was_faster_than_should_fire_earlier() -> None:
    story = opened("person")
    started = (ALERT_AT + timedelta(minutes=2)).isoformat()
    story.add(120.0, FactKind.ALERT_RECEIVED, alert_fact() | {"starts_at": started})
    (made,) = found(acknowledged(story))
    assert "fire earlier" in made.proposal
    assert "2 min 0 s before" in made.because


def test_a_response_target_that_nobody_kept_asks_who_is_told() -> None:
    made = found(opened())
    assert any("was missed" in each.because for each in made)


def test_a_message_that_arrived_another_way_asks_for_nothing() -> None:
    said = {"audience": "dpo", "moment": "privacy", "channel": "mail"}
    story = acknowledged(opened()).add(2.0, FactKind.NOTIFY_FAILED, said | {"error": "e"})
    assert found(story.add(3.0, FactKind.NOTIFIED, said | {"summary": "s"})) == []


def test_a_story_that_went_by_the_book_suggests_nothing_and_no_journal_neither() -> None:
    assert found(full_journal()) == []
    assert found(JournalBuilder()) == []
