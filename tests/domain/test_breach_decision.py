"""What a person decides about a breach, which clocks follow, and what notices say."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tasks.domain.breach_clocks import starts, states
from tasks.domain.breach_decision import (
    Risk,
    check_aware,
    check_cases,
    decided_fact,
    decision_of,
    recommended,
    scope_of,
    standing_severity,
)
from tasks.domain.circumstances import Circumstances
from tasks.domain.enisa import Band, Category, Identifier, Severity
from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.notice_values import House, as_fact, drafts, values
from tasks.domain.privacy_scope import Part, Scope, severity_of
from tasks.domain.regimes import Running, shipped
from tasks.domain.report import build_report
from tasks.sections.privacy_incidents import PrivacyIncidentSettings
from tests.builders import ALERT_AT, JournalBuilder

ASSUMED = PrivacyIncidentSettings().circumstances()
LATER = ALERT_AT + timedelta(hours=5)
HOUSE = House(dpo_contact="dpo@house.invalid", entity="", system="RLHF audit trail 2.1")


def scope(**parts: Any) -> Scope:
    known: dict[str, Any] = {
        "table": "public.annotations",
        "categories": frozenset({Category.BEHAVIOURAL}),
    }
    part = Part(**(known | {"rows": 1234, "people": 41, "named_by": {Identifier.ALIAS: 9}} | parts))
    return Scope(None, ALERT_AT, (part,), part.people)


def story(found: Scope | None = None) -> JournalBuilder:
    journal = JournalBuilder()
    journal.add(0, FactKind.OPENED, {"title": "t", "component": "privacy", "cause": "person"})
    clock = {"clock": "dpo", "due": (ALERT_AT + timedelta(hours=1)).isoformat()}
    journal.add(1, FactKind.CLOCK_STARTED, clock)
    measured = found or scope()
    data = {"scope": measured.as_json(), "circumstances": ASSUMED.as_json()}
    return journal.add(60, FactKind.PRIVACY_SCOPED, data)


def decided(journal: JournalBuilder, actor: str = "dora", **said: Any) -> JournalBuilder:
    aware_at: datetime | None = said.pop("aware_at", None)
    circumstances = ASSUMED.corrected(said.pop("corrections", {}))
    severity = severity_of(scope(), circumstances)
    data = decided_fact(
        Risk.LIKELY,
        "ids were public",
        "privacy-officer",
        severity,
        circumstances,
        aware_at,
        said.pop("cases", ()),
    )
    return journal.add(120, FactKind.PRIVACY_DECIDED, data | said, actor=actor)


@pytest.mark.parametrize(
    ("severity", "risk"),
    [
        (Severity(1, 0.25, 0.0), Risk.UNLIKELY),
        (Severity(2, 1.0, 0.0), Risk.LIKELY),
        (Severity(3, 1.0, 0.0), Risk.HIGH),
        (Severity(4, 1.0, 2.0), Risk.HIGH),
        (None, Risk.HIGH),
    ],
)
def test_the_score_suggests_a_risk_and_no_score_suggests_the_worst(
    severity: Severity | None, risk: Risk
) -> None:
    assert recommended(severity) is risk


def test_what_a_person_corrects_moves_the_score_and_the_rest_is_confirmed() -> None:
    state = decided(story()).incident_state()
    assumed = standing_severity(state)
    corrected = decided(
        story(), corrections={"ease": {"code or alias": "maximum"}, "malicious": True}
    )
    found = standing_severity(corrected.incident_state())
    assert assumed is not None
    assert found is not None
    assert (assumed.score, found.score) == (2 * 0.25 + 0.5, 2 * 1.0 + 1.0)
    assert found.band is Band.HIGH


@pytest.mark.parametrize(
    "said",
    [
        {"ease": {"code or alias": "limited"}},  # a degree that the method does not know
        {"ease": {"shoe size": "maximum"}},
        {"ease": {"e-mail": "\u202emaximum"}},
        {"confidentiality": "public"},
        {"malicious": "yes"},
        {"adjustment": 4},
        {"adjustment": True},
        {"severity": "Low"},
    ],
)
def test_a_correction_that_means_nothing_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="expected"):
        ASSUMED.corrected(said)


def test_circumstances_come_back_from_the_journal_as_they_were() -> None:
    assert Circumstances.from_json(ASSUMED.as_json()) == ASSUMED


def test_the_runbook_itself_never_decides_and_an_odd_word_is_no_decision() -> None:
    assert decision_of(story().incident_state()) is None
    assert decision_of(decided(story(), actor=RUNBOOK).incident_state()) is None
    assert decision_of(decided(story(), risk="low").incident_state()) is None
    found = decision_of(decided(decided(story()), actor="otto", risk="high").incident_state())
    assert found is not None
    assert (found.risk, found.by) == (Risk.HIGH, "otto")


def test_the_newest_scope_that_can_be_read_counts() -> None:
    journal = story()
    journal.add(90, FactKind.PRIVACY_SCOPED, {"scope": {"parts": [{}]}, "circumstances": {}})
    found = scope_of(journal.incident_state())
    assert found is not None
    assert found[0].rows == 1234


def test_without_personal_data_there_is_no_severity_and_unmeasured_data_counts() -> None:
    assert severity_of(scope(rows=0), ASSUMED) is None
    unknown = severity_of(scope(rows=None, people=None, named_by=None), ASSUMED)
    assert unknown is not None
    assert unknown.context == Category.BEHAVIOURAL.value


def test_the_laws_clocks_run_from_the_suspicion_until_a_person_says_since_when() -> None:
    state = story().incident_state()
    found = {each.clock.id: each for each in states(state, shipped(), ["gdpr"])}
    runs = found["gdpr-33"]
    assert isinstance(runs, Running)
    assert runs.due == ALERT_AT + timedelta(seconds=1, hours=72)
    aware = decided(story(), aware_at=LATER).incident_state()
    again = {each.clock.id: each for each in states(aware, shipped(), ["gdpr"])}["gdpr-33"]
    assert isinstance(again, Running)
    assert again.due == LATER + timedelta(hours=72)


def test_a_clock_is_started_once_and_again_only_when_a_person_moves_it() -> None:
    journal = story()
    (begun,) = starts(
        journal.incident_state(), states(journal.incident_state(), shipped(), ["gdpr"])
    )
    journal.add(61, FactKind.CLOCK_STARTED, begun[1])
    replaced = journal.facts[-1].seq
    state = journal.incident_state()
    assert list(starts(state, states(state, shipped(), ["gdpr"]))) == []
    moved = decided(journal, aware_at=LATER).incident_state()
    ((key, data),) = starts(moved, states(moved, shipped(), ["gdpr"]))
    assert (data["due"], key) == (
        (LATER + timedelta(hours=72)).isoformat(),
        f"clock:gdpr-33:{replaced}:{data['due']}",
    )
    journal.add(200, FactKind.CLOCK_STOPPED, {"clock": "gdpr-33", "reason": "sent"})
    over = journal.incident_state()
    assert list(starts(over, states(over, shipped(), ["gdpr"]))) == []


def test_a_notice_that_was_sent_starts_the_clock_that_runs_from_it() -> None:
    journal = story()
    before = {key for key, _ in starts(journal.incident_state(), states_of(journal, "nis2"))}
    assert not [key for key in before if "nis2-final" in key]
    journal.add(HOURS_48, FactKind.CLOCK_STOPPED, {"clock": "nis2-notification", "reason": "sent"})
    after = {key for key, _ in starts(journal.incident_state(), states_of(journal, "nis2"))}
    assert [key for key in after if key.startswith("clock:nis2-final:first:2026-04-16")]


HOURS_48 = 48 * 3600.0


def states_of(journal: JournalBuilder, *regimes: str) -> list[Any]:
    return states(journal.incident_state(), shipped(), regimes)


def test_every_field_of_every_regime_is_filled_or_unknown_and_what_was_measured_is_said() -> None:
    journal = decided(story())
    regimes = ["gdpr", "eu_ai_act", "nis2", "dora", "sec", "hipaa"]
    found = drafts(journal.incident_state(), states_of(journal, *regimes), HOUSE, LATER)
    assert len(found) == len(shipped().of(regimes))
    said = {(each.clock.id, entry.field): str(entry) for each in found for entry in each.entries}
    assert all(said.values())
    assert said["gdpr-33", "number of people concerned"] == "41 annotators"
    assert said["gdpr-33", "number of records concerned"] == "1,234"
    assert "decided by dora: ids were public" in said["gdpr-33", "likely consequences"]
    assert said["gdpr-33", "measures taken or proposed"] == "UNKNOWN"
    assert said["dora-initial", "entity and LEI"] == "UNKNOWN"
    assert said["ai-act-73", "system and version"] == "RLHF audit trail 2.1"
    assert said["nis2-early-warning", "possible impact across borders"] == "UNKNOWN"
    assert {each["filled"] for draft in found for each in as_fact(draft)["entries"]} == {
        "known",
        "unknown",
    }


def test_what_was_not_measured_is_never_zero_in_a_notice() -> None:
    journal = story(scope(rows=None, people=None, named_by=None, reason="refused"))
    known = values(journal.incident_state(), HOUSE)
    assert "number of records concerned" not in known
    assert "number of people concerned" not in known
    assert "UNKNOWN" in known["impact"]


def test_hostile_words_stay_text_in_a_notice() -> None:
    journal = decided(story(), reason="<script>\u202ex\x00" + "y" * 5000)
    for value in values(journal.incident_state(), HOUSE).values():
        assert value.isprintable()
        assert len(value) < 700


def test_nobody_is_aware_of_the_future_and_cases_are_those_of_the_law() -> None:
    assert check_aware(ALERT_AT, ALERT_AT) == ALERT_AT
    with pytest.raises(BadInput, match="in the past"):
        check_aware(ALERT_AT + timedelta(hours=1), ALERT_AT)
    assert check_cases(["death", "death"], shipped()) == ("death",)
    for wrong in ("", "Death", "x' OR 1=1", "\u202e"):
        with pytest.raises(BadInput, match="expected cases among death"):
            check_cases([wrong], shipped())


def test_the_report_gives_the_measured_scope_and_whose_decision_it_was() -> None:
    before, after = story().incident_state(), decided(story()).incident_state()
    said = [
        {each.question: each.answer for each in (*report.impact, *report.compliance)}
        for report in (build_report(before, LATER), build_report(after, LATER))
    ]
    assert "1,234 records" in said[0]["Personal data that may be disclosed"]
    question = "Is it a personal data breach to notify?"
    assert said[0][question].startswith("UNKNOWN")
    assert said[1][question] == "risk to people: likely, decided by dora: ids were public"
