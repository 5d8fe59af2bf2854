"""Messages by audience and moment: from facts, and public words hold nothing of an alert."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.messages import Audience, Message, Moment, message
from tasks.domain.proofs import HALTED
from tasks.domain.untrusted import visible
from tests.builders import ALERT_AT, JournalBuilder

HOSTILE = "db down \u202e<script>alert(1)</script> annotator jane.doe@example.org"
NOW = ALERT_AT + timedelta(minutes=75)


def incident(title: str = HOSTILE, component: str = "database") -> Incident:
    opened = {"title": title, "component": component, "procedure": "database", "cause": "alert"}
    check = {
        "step": "assess.database",
        "component": "database",
        "health": "Failed",
        "summary": HOSTILE,
        "seconds": 0.1,
        "evidence": {},
    }
    return (
        JournalBuilder()
        .add(0, FactKind.OPENED, opened)
        .add(1, FactKind.CHECK_OBSERVED, check)
        .add(2, FactKind.SEVERITY_ASSIGNED, {"severity": "P1", "rule": "r", "reason": "why"})
        .incident_state()
    )


def told(audience: Audience, moment: Moment = Moment.OPENED) -> Message:
    return message(incident(), audience, moment, NOW)


@pytest.mark.parametrize("moment", list(Moment))
def test_customers_get_no_word_of_the_alert_and_no_number_of_ours(moment: Moment) -> None:
    text = str(told(Audience.CUSTOMERS, moment))
    for private in ("jane", "script", "P1", incident().id, "annotator"):
        assert private not in text
    assert "the database" in text
    assert "UTC" in text


def test_customers_are_told_another_thing_at_each_moment() -> None:
    said = {told(Audience.CUSTOMERS, moment).subject for moment in Moment}
    assert len(said) == len(Moment)


def test_a_component_that_customers_do_not_know_is_the_service() -> None:
    found = message(incident(component=HOSTILE), Audience.CUSTOMERS, Moment.OPENED, NOW)
    assert found.subject == "Investigating: the service"


def test_only_what_customers_read_needs_approval_first() -> None:
    assert [each for each in Audience if each.is_public] == [Audience.CUSTOMERS]


def test_engineers_are_told_conditions_actions_and_needs() -> None:
    lines = told(Audience.ENGINEERS).lines
    assert [line.partition(":")[0] for line in lines] == ["Conditions", "Actions", "Needs"]
    assert "failed: database; open for 1 h 15 min" in lines[0]


def test_executives_are_told_status_overview_and_what_comes_next() -> None:
    lines = told(Audience.EXECUTIVES).lines
    assert [line.partition(":")[0] for line in lines] == ["Status", "Overview", "Next"]
    assert lines[2] == "Next: somebody to take the lead"


def test_the_dpo_is_told_which_clocks_run_and_that_nothing_was_sent() -> None:
    assert told(Audience.DPO).lines[0].startswith("No regulatory clock runs")
    started = {"clock": "dpo", "due": "2026-03-14T04:00:12+00:00", "recipient": "dpo", "reason": ""}
    journal = JournalBuilder().add(0, FactKind.CLOCK_STARTED, started)
    found = message(journal.incident_state(), Audience.DPO, Moment.UPDATE, NOW)
    assert found.lines[0] == "Clock dpo: due 2026-03-14T04:00:12+00:00"
    assert found.lines[-1].endswith("nothing was sent.")


def test_auditors_are_told_what_is_sealed_proven_and_held_and_what_is_not() -> None:
    lines = told(Audience.AUDITORS).lines
    assert lines[0] == "Evidence: none is sealed"
    assert lines[1] == "Proof of the log: none was made in this incident"
    halt = {"what": HALTED, "holds": True, "summary": "the engine refuses"}
    journal = JournalBuilder().add(0, FactKind.VERIFIED, halt)
    found = message(journal.incident_state(), Audience.AUDITORS, Moment.UPDATE, NOW)
    assert found.lines[1] == lines[1]


def test_hostile_text_is_shown_as_what_it_is() -> None:
    for audience in Audience:
        assert "\u202e" not in str(told(audience))


@given(some.text(max_size=300), some.text(max_size=60))
def test_whatever_a_title_holds_nothing_is_hidden_in_a_message(title: str, component: str) -> None:
    state = incident(title, component)
    for audience, moment in product(Audience, Moment):
        found = message(state, audience, moment, NOW)
        assert all(visible(line, 9999) == line for line in (found.subject, *found.lines))


def test_an_incident_without_any_fact_can_be_told_too() -> None:
    for audience, moment in product(Audience, Moment):
        assert message(Incident("INC-1"), audience, moment, NOW).subject
