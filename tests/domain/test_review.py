"""What people write in a review: versions, action items, the report's status, the days after."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.action_items import (
    MOST_ITEMS,
    ActionItem,
    action_items,
    check_due,
    markdown,
    next_name,
)
from tasks.domain.compliance_decisions import Matter, auditors_step, decisions
from tasks.domain.errors import BadInput
from tasks.domain.escalation import due_steps
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.questions import ASKED, Question, answers, lacking, prompts
from tasks.domain.report import build_report
from tasks.domain.review import (
    Status,
    due_follow_ups,
    follow_up_rows,
    follow_up_words,
    follow_ups,
    status,
    status_words,
)
from tests.builders import ALERT_AT, JournalBuilder
from tests.story import full_journal

NOW = ALERT_AT + timedelta(minutes=5)
NEEDED = [question for question, asked in ASKED.items() if asked.needed]
HOSTILE = "<img src=x onerror=alert(1)>\u202e](javascript:x) **b** `c` | d"


def journal() -> JournalBuilder:
    return full_journal()


def answered(to: JournalBuilder, question: str, text: str, by: str = "ada") -> JournalBuilder:
    return to.add(100.0, FactKind.ANSWERED, {"question": question, "text": text}, by)


def put(to: JournalBuilder, item: str = "A1", by: str = "ada", **data: Any) -> JournalBuilder:
    whole = {
        "item": item,
        "action": "rotate the keys",
        "kind": "prevent",
        "owner": "bea",
        "due": "2026-04-01",
        "verification": "the old key is refused",
    }
    return to.add(101.0, FactKind.ACTION_SET, whole | data, by)


def ended(to: JournalBuilder, item: str = "A1", ending: str = "done") -> JournalBuilder:
    data = {"item": item, "ending": ending, "text": "looked at it"}
    return to.add(102.0, FactKind.ACTION_ENDED, data, "bea")


def complete(to: JournalBuilder) -> JournalBuilder:
    for question in NEEDED:
        answered(to, question.value, "because")
    return to


def signed(to: JournalBuilder) -> JournalBuilder:
    return to.add(103.0, FactKind.SIGNED_OFF, {"text": "read it", "role": "approver"}, "bea")


def test_every_question_is_asked_and_unanswered_ones_say_so() -> None:
    report = build_report(journal().incident_state(), NOW)
    assert [prompt.question for prompt in report.prompts] == [*Question]
    assert all(prompt.answer is None and prompt.version == 0 for prompt in report.prompts)
    assert report.status == "Draft"


def test_the_newest_answer_stands_and_the_others_are_its_versions() -> None:
    story = answered(answered(journal(), "causes", "first"), "causes", "second\n\nline", by="bea")
    found = next(each for each in prompts(story.facts) if each.question == "causes")
    assert found.answer is not None
    assert (found.answer.by, found.answer.lines) == ("bea", ("second", "line"))
    assert [version.lines for version in found.versions] == [("first",), ("second", "line")]


@pytest.mark.parametrize(
    "data",
    [
        {"question": "nobody-asked", "text": "x"},
        {"question": "causes", "text": ""},
        {"question": "causes", "text": 7},
        {"question": ["causes"], "text": "x"},
        {},
    ],
)
def test_an_answer_that_is_none_answers_nothing(data: dict[str, Any]) -> None:
    story = journal().add(100.0, FactKind.ANSWERED, data, "ada")
    assert answers(story.facts) == {}


def test_the_runbook_answers_nothing_itself() -> None:
    assert answers(answered(journal(), "causes", "it was me", by=RUNBOOK).facts) == {}
    assert action_items(put(journal(), by=RUNBOOK).facts) == ()


def test_a_report_is_reviewed_step_by_step_and_a_later_word_undoes_the_sign_off() -> None:
    story = journal()
    assert status(story.facts) is Status.DRAFT
    assert "Root causes" in status_words(story.facts)
    complete(story)
    assert (status(story.facts), lacking(story.facts)) == (Status.IN_REVIEW, ())
    signed(put(story))
    assert status(story.facts) is Status.REVIEWED
    assert "open: A1" in status_words(story.facts)
    ended(story)
    assert status(story.facts) is Status.CLOSED
    answered(story, "luck", "none")
    assert status(story.facts) is Status.IN_REVIEW


def test_an_item_is_what_was_put_last_and_put_anew_it_is_open_again() -> None:
    story = put(ended(put(journal())), owner="carl")
    (item,) = action_items(story.facts)
    assert (item.state, item.owner, item.versions, item.added_by) == ("open", "carl", 2, "ada")
    (done,) = action_items(ended(story, ending="dropped").facts)
    assert (done.state, done.ended_by, done.said) == ("dropped", "bea", "looked at it")


def test_an_end_of_no_item_and_an_odd_name_change_nothing() -> None:
    story = ended(put(put(journal(), item="A0"), item="x' OR 1=1"), item="A7")
    assert action_items(story.facts) == ()
    (item,) = action_items(ended(put(story), ending="forgotten").facts)
    assert item.state == "open"


@pytest.mark.parametrize(
    ("due", "today", "overdue"),
    [
        ("2026-04-01", date(2026, 4, 1), False),
        ("2026-04-01", date(2026, 4, 2), True),
        ("soon", date(2026, 4, 2), True),
    ],
)
def test_an_open_item_is_overdue_after_its_last_day(due: str, today: date, overdue: bool) -> None:
    (item,) = action_items(put(journal(), due=due).facts)
    assert item.is_overdue(today) is overdue
    (over,) = action_items(ended(put(journal(), due=due)).facts)
    assert not over.is_overdue(today)


@pytest.mark.parametrize("due", [date(2026, 3, 13), date(2028, 3, 15), date(9999, 12, 31)])
def test_a_due_date_in_the_past_or_far_away_is_refused(due: date) -> None:
    with pytest.raises(BadInput, match="due date"):
        check_due(due, date(2026, 3, 14))


@pytest.mark.parametrize("today", [date(2028, 2, 29), date(2026, 12, 31)])
def test_a_due_date_is_checked_on_every_day_of_a_calendar(today: date) -> None:
    assert check_due(today, today) == today


def test_there_is_an_end_to_items() -> None:
    story = journal()
    for number in range(1, MOST_ITEMS + 1):
        put(story, item=f"A{number}")
    items = action_items(story.facts)
    assert next_name(items[:-1]) == f"A{MOST_ITEMS}"
    with pytest.raises(BadInput, match="at most"):
        next_name(items)


def item_of(**data: Any) -> ActionItem:
    return action_items(put(journal(), **data).facts)[0]


@given(st.text(max_size=60))
def test_no_text_of_people_is_markup_in_the_export(text: str) -> None:
    lines = markdown("INC-1", (item_of(action=text or "-", owner=text or "-"),), NOW).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("- [ ] **A1** ")


def test_the_export_says_who_until_when_how_it_is_verified_and_how_it_ended() -> None:
    story = ended(put(put(journal()), item="A2", action=HOSTILE, due="2026-03-01"))
    export = markdown("INC-1", action_items(story.facts), NOW)
    assert "- [x] **A1** rotate the keys" in export
    assert "owner: bea; due: 2026\\-04\\-01" in export
    assert "verified by: the old key is refused" in export
    assert "done 2026" in export
    assert "**overdue**" in export
    assert "<img" not in export.replace("\\<img", "")
    assert "\u202e" not in export
    assert markdown("INC-1", (), NOW).endswith("None.\n")


def test_a_decision_stands_until_it_is_decided_otherwise_and_a_yes_tells_the_auditors_once() -> (
    None
):
    story = journal()
    no = {"matter": "auditors", "answer": "no", "reason": "a drill", "role": "approver"}
    story.add(100.0, FactKind.COMPLIANCE_DECIDED, no, "bea")
    assert not [step for step in due_steps(story.incident_state(), NOW) if "auditors" in step.step]
    story.add(101.0, FactKind.COMPLIANCE_DECIDED, no | {"answer": "yes"}, "bea")
    stands = decisions(story.facts)[Matter.AUDITORS]
    (due,) = [step for step in due_steps(story.incident_state(), NOW) if "auditors" in step.step]
    assert (due.step, due.contact) == (auditors_step(stands), "auditors")
    said = {"step": due.step, "to": "auditors", "contact": "auditors", "reason": "r"}
    story.add(102.0, FactKind.ESCALATED, said)
    state = story.incident_state()
    assert not [step for step in due_steps(state, NOW) if "auditors" in step.step]
    answers_of = {row.question: row.answer for row in build_report(state, NOW).compliance}
    assert answers_of["Were the auditors told?"].startswith("NOT YET")
    assert answers_of["Do the auditors have to be told?"].startswith("yes, decided by bea")


@pytest.mark.parametrize(
    "data",
    [
        {"matter": "auditors", "answer": True},
        {"matter": "taxes", "answer": "yes"},
        {"matter": ["auditors"], "answer": ["yes"]},
    ],
)
def test_what_is_no_decision_decides_nothing(data: dict[str, Any]) -> None:
    story = journal().add(100.0, FactKind.COMPLIANCE_DECIDED, data, "bea")
    assert decisions(story.facts) == {}


def test_a_closed_p1_is_looked_at_after_a_week_and_a_month_each_once() -> None:
    story = put(journal(), due="2026-03-20")
    state = story.incident_state()
    week, month = follow_ups(state)
    assert state.closed_at is not None
    assert (week.due - state.closed_at, month.due - state.closed_at) == (
        timedelta(days=7),
        timedelta(days=30),
    )
    assert due_follow_ups(state, week.due - timedelta(seconds=1)) == ()
    assert due_follow_ups(state, week.due) == (week,)
    words = follow_up_words(state, week.name, week.due)
    assert "OVERDUE A1: rotate the keys" in words
    story.add(7e5, FactKind.FOLLOW_UP, {"review": week.name, "summary": "asked"})
    assert due_follow_ups(story.incident_state(), week.due) == ()
    assert due_follow_ups(story.incident_state(), month.due) == (month,)


def test_a_review_of_which_nobody_could_be_told_is_asked_for_again_and_the_report_says_so() -> None:
    story = journal()
    week, _ = follow_ups(story.incident_state())
    unheard = {"review": week.name, "summary": "could not be told", "heard": False}
    story.add(7e5, FactKind.FOLLOW_UP, unheard)
    (due,) = due_follow_ups(story.incident_state(), week.due)
    row, _ = follow_up_rows(story.incident_state())
    assert (due.name, row.name) == (week.name, week.name)
    assert row.state.startswith("nobody could be told at 2026-")
    story.add(8e5, FactKind.FOLLOW_UP, unheard | {"heard": True})
    assert due_follow_ups(story.incident_state(), week.due) == ()
    assert next(follow_up_rows(story.incident_state())).state.startswith("people were asked at")


def test_an_open_incident_has_no_follow_up() -> None:
    story = JournalBuilder().add(0.0, FactKind.OPENED, {"title": "t", "component": "api"})
    assert follow_ups(story.incident_state()) == ()
    assert due_follow_ups(story.incident_state(), datetime(2099, 1, 1, tzinfo=UTC)) == ()
