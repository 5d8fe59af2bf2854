"""Drafts for the public: named by what they say, approved by people, and the newest wins."""

from datetime import timedelta

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.escalation import due_steps
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.messages import Moment
from tasks.domain.status_drafts import STATUS_PAGE, Draft, draft, is_public, standings
from tests.builders import ALERT_AT, JournalBuilder

LATER = ALERT_AT + timedelta(hours=1)


def opened(title: str = "jane.doe@example.org <script>") -> JournalBuilder:
    data = {"title": title, "component": "database", "cause": "alert"}
    journal = JournalBuilder().add(0, FactKind.OPENED, data)
    return journal.add(1, FactKind.SEVERITY_ASSIGNED, {"severity": "P3"})


def drafted(journal: JournalBuilder, moment: Moment, at: float) -> Draft:
    made = draft(journal.incident_state(), moment, ALERT_AT + timedelta(seconds=at))
    journal.add(at, FactKind.STATUS_DRAFTED, {"draft": made.as_json()})
    return made


def publishing(journal: JournalBuilder) -> list[str]:
    due = due_steps(journal.incident_state(), LATER)
    return [step.step for step in due if step.contact == STATUS_PAGE]


def test_a_draft_holds_nothing_of_the_alert_and_not_the_incidents_name() -> None:
    journal = opened()
    made = draft(journal.incident_state(), Moment.OPENED, LATER)
    shown = str(made.as_json())
    assert "jane" not in shown
    assert "script" not in shown
    assert journal.incident not in shown


def test_nothing_is_due_for_the_page_before_a_person_has_approved() -> None:
    journal = opened()
    made = drafted(journal, Moment.OPENED, 10)
    assert publishing(journal) == []
    journal.add(20, FactKind.STATUS_APPROVED, {"hash": made.hash}, RUNBOOK)
    assert publishing(journal) == []  # the runbook's own word is none
    journal.add(30, FactKind.STATUS_APPROVED, {"hash": made.hash}, "anna")
    assert publishing(journal) == [f"status-page.{made.hash[:16]}"]


def test_what_the_page_has_taken_is_not_due_again_and_an_older_word_never() -> None:
    journal = opened()
    first = drafted(journal, Moment.OPENED, 10)
    second = drafted(journal, Moment.UPDATE, 20)
    journal.add(30, FactKind.STATUS_APPROVED, {"hash": first.hash}, "anna")
    journal.add(31, FactKind.STATUS_APPROVED, {"hash": second.hash}, "anna")
    assert publishing(journal) == [f"status-page.{second.hash[:16]}"]
    assert not is_public(journal.incident_state())
    told = {"channel": STATUS_PAGE, "hash": second.hash, "receipt": "abc", "moment": "m"}
    journal.add(32, FactKind.NOTIFIED, told)
    assert publishing(journal) == []
    assert is_public(journal.incident_state())


def test_an_approved_draft_is_due_of_a_closed_incident_too() -> None:
    journal = opened().add(5, FactKind.CLOSED, {"outcome": "restored"})
    made = drafted(journal, Moment.CLOSED, 10)
    journal.add(30, FactKind.STATUS_APPROVED, {"hash": made.hash}, "anna")
    assert publishing(journal) == [f"status-page.{made.hash[:16]}"]


@pytest.mark.parametrize(
    "found", [None, 7, {}, {"moment": "opened"}, {"moment": "x", "page": "p", "subject": "s"}]
)
def test_a_draft_that_cannot_be_read_is_none(found: object) -> None:
    with pytest.raises(BadInput):
        Draft.from_json(found)
    journal = opened().add(10, FactKind.STATUS_DRAFTED, {"draft": found})
    assert standings(journal.incident_state()) == ()


def test_other_words_are_another_draft() -> None:
    made = drafted(opened(), Moment.OPENED, 10)
    other = Draft(made.page, made.moment, made.subject, made.text + " All data is safe.")
    assert other.hash != made.hash
    assert Draft.from_json(made.as_json()) == made
