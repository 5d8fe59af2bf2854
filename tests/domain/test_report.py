"""The report says what the facts say, and UNKNOWN where they say nothing."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.isolation import CAUSE
from tasks.domain.journaled import UNKNOWN
from tasks.domain.ledger.verdicts import Code, Finding, Status, Verdict
from tasks.domain.metrics import duration
from tasks.domain.proofs import HALTED, IN_SERVICE, same_look
from tasks.domain.recovery_plan import CARRY_OVER
from tasks.domain.report import Report, build_report
from tasks.domain.timeline import shortened
from tests.builders import (
    ALERT_AT,
    INCIDENT,
    JournalBuilder,
    alert_fact,
    diagnosis,
    restore_plan,
    tampered_verdict,
)
from tests.story import DEMO_APPROVER, full_incident, full_journal

NOW = ALERT_AT + timedelta(minutes=5)


def report_of(incident: Incident) -> Report:
    return build_report(incident, NOW)


def without(kind: FactKind) -> Incident:
    facts = [fact for fact in full_journal().facts if fact.kind is not kind]
    return fold(INCIDENT, facts)


def changed(kind: FactKind, **data: Any) -> Incident:
    """The full story with some keys of the facts of one kind replaced."""
    facts = [
        replace(fact, data={**fact.data, **data}) if fact.kind is kind else fact
        for fact in full_journal().facts
    ]
    return fold(INCIDENT, facts)


def key_figure(report: Report, label: str) -> str:
    return next(figure.value for figure in report.key_figures if figure.label == label)


def answer(report: Report, question: str) -> str:
    return next(row.answer for row in report.impact if row.question == question)


def test_full_incident_is_told_in_four_sentences_of_facts() -> None:
    happened, damaged, done, proven = report_of(full_incident()).summary

    assert "2026-03-14 03:00:12.250+00:00" in happened
    assert "AuditTrailIntegrityFailure" in happened
    assert "50,000 records proved: 3 records altered, 5 records deleted" in damaged
    assert f"approval by {DEMO_APPROVER}" in done
    assert "outage of 0.42 s" in done
    assert "holds" in proven
    assert "2 records could not be saved" in proven


def test_times_are_measured_between_the_facts() -> None:
    figures = {figure.key: figure.value for figure in report_of(full_incident()).readings.figures}

    assert figures == pytest.approx(
        {
            "time_to_detect": 41.0,
            "time_to_acknowledge": 7.15,
            "time_to_recover": 57.9,
            "alert_to_first_check": 0.42,
            "alert_to_diagnosis": 1.9,
            "outage": 0.422,
            "total": 18.1,
        }
    )


def test_same_facts_give_the_same_report() -> None:
    assert report_of(full_incident()).as_json() == report_of(full_incident()).as_json()


def test_report_rebuilt_later_differs_only_in_when_it_was_written() -> None:
    early = build_report(full_incident(), NOW)
    late = build_report(full_incident(), NOW + timedelta(days=3))

    assert replace(late, generated_at=early.generated_at) == early


def test_one_changed_word_in_a_fact_changes_the_digest_of_the_facts() -> None:
    plain = report_of(full_incident()).journal
    other = report_of(changed(FactKind.CLOSED, summary="another word")).journal

    assert (other.count, other.first_seq) == (plain.count, plain.first_seq)
    assert other.digest != plain.digest


def test_simulated_approval_is_the_first_thing_that_the_report_says() -> None:
    report = report_of(full_incident())

    assert any(
        "SIMULATED APPROVAL" in notice and DEMO_APPROVER in notice for notice in report.notices
    )
    assert [made.simulated for made in report.readings.decisions] == [True]


def test_approval_by_a_person_is_not_called_simulated() -> None:
    report = report_of(full_incident(approver="Ada Lovelace"))

    assert not any("SIMULATED" in notice for notice in report.notices)
    assert all(step.authority == "approved by Ada Lovelace" for step in report.readings.steps)


def test_step_outside_the_approved_plan_is_called_automatic() -> None:
    journal = full_journal()
    journal.add(20, FactKind.STEP_DONE, {"step": "triage.note", "target": "x", "summary": "done"})

    steps = report_of(journal.incident_state()).readings.steps

    assert steps[-1].authority == "automatic, by policy"


def test_approval_of_a_replaced_plan_is_not_the_new_plans_approval() -> None:
    journal = full_journal()
    plan = restore_plan()
    journal.add(20, FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": "f" * 64})
    journal.add(21, FactKind.STEP_DONE, {"step": plan.steps[0].step, "target": "x"})

    assert report_of(journal.incident_state()).readings.steps[-1].authority == "approval UNKNOWN"


def test_failed_and_unfinished_steps_are_shown_with_an_action_each() -> None:
    journal = full_journal()
    journal.add(20, FactKind.STEP_FAILED, {"step": "a", "target": "t", "error": "disk full"})
    journal.add(21, FactKind.STEP_STARTED, {"step": "b", "target": "t"})

    report = report_of(journal.incident_state())

    assert [step.outcome for step in report.readings.steps] == [
        *("done", "done", "done"),
        *("failed", "not finished"),
    ]
    assert {"Find out why the step a failed", "Find out why the step b did not finish"} <= {
        action.action for action in report.actions
    }


@pytest.mark.parametrize("kind", list(FactKind))
def test_report_is_written_when_no_fact_of_a_kind_is_there(kind: FactKind) -> None:
    report = report_of(without(kind))

    assert len(report.summary) == 4
    assert all(report.summary)


@pytest.mark.parametrize("kind", list(FactKind))
def test_every_kind_of_fact_stands_in_the_timeline_even_when_it_carries_nothing(
    kind: FactKind,
) -> None:
    fact = Fact(1, INCIDENT, ALERT_AT, kind, "runbook", {})
    incident = Incident(id=INCIDENT, facts=[fact])

    (row,) = report_of(incident).readings.timeline

    assert (row.seq, row.kind) == (1, kind.value)


def test_without_a_diagnosis_the_damage_is_unknown_and_not_zero() -> None:
    report = report_of(without(FactKind.DIAGNOSED))

    assert "UNKNOWN" in report.summary[1]
    assert key_figure(report, "Records damaged") == UNKNOWN
    assert answer(report, "Audit records damaged") == UNKNOWN


def test_without_a_proof_the_report_warns_and_calls_the_log_unproven() -> None:
    report = report_of(without(FactKind.VERIFIED))

    assert key_figure(report, "Proof") == UNKNOWN
    assert key_figure(report, "Records lost") == UNKNOWN
    assert any("NO PROOF HOLDS" in notice for notice in report.notices)
    assert report.compliance[0].answer == UNKNOWN


def test_later_failed_proof_outweighs_an_earlier_good_one() -> None:
    journal = full_journal()
    journal.add(
        30, FactKind.VERIFIED, {"what": IN_SERVICE, "holds": False, "summary": "root differs"}
    )

    report = report_of(journal.incident_state())

    assert "DOES NOT HOLD" in report.summary[3]
    assert key_figure(report, "Proof") == "FAILS"
    assert report.readings.figure("time_to_recover").value is None


def looked(what: str, summary: str, *, holds: bool = True, damaged: bool = False) -> Incident:
    """An incident with one step and one look, without a proof over the log."""
    journal = JournalBuilder().add(0, FactKind.ALERT_RECEIVED, alert_fact())
    if damaged:
        journal.add(1, FactKind.DIAGNOSED, diagnosis(tampered_verdict()))
    journal.add(2, FactKind.STEP_DONE, {"step": "s", "target": "t", "result": {}})
    journal.add(3, FactKind.VERIFIED, {"what": what, "holds": holds, "summary": summary})
    return journal.incident_state()


@pytest.mark.parametrize(
    ("what", "summary"),
    [
        (same_look(CAUSE), "the account is locked"),
        (HALTED, "the engine refuses releases"),
    ],
    ids=["breach", "privacy"],
)
def test_an_isolation_or_a_halt_is_no_proof_of_the_log_and_no_recovery(
    what: str, summary: str
) -> None:
    report = report_of(looked(what, summary))
    assert [row.what for row in report.readings.proofs] == [what]
    assert report.readings.proof is None
    assert key_figure(report, "Proof") == UNKNOWN
    assert key_figure(report, "Recovered after") == UNKNOWN
    assert report.compliance[0].answer == UNKNOWN
    assert report.summary[3] == (
        f"The last look ({what}) held: {summary}. No proof over the log is in the journal: "
        "whether it is whole is UNKNOWN."
    )
    after = report_of(looked(what, summary, damaged=True))
    assert any("NO PROOF HOLDS" in notice for notice in after.notices)


def test_a_component_that_was_mended_is_told_by_its_look_and_counts_as_recovered() -> None:
    report = report_of(looked(same_look("api.not-running"), "api.not-running is gone"))
    assert report.summary[3].startswith("The last look (api.not-running by the same look) held")
    assert report.readings.figure("time_to_recover").value is not None
    assert not any("NO PROOF HOLDS" in notice for notice in report.notices)
    failed = report_of(looked(same_look("api.not-running"), "still down", holds=False))
    assert any("NO PROOF HOLDS" in notice for notice in failed.notices)


def test_a_later_isolation_leaves_the_proof_over_the_log_standing() -> None:
    journal = full_journal()
    back = {"what": same_look(CAUSE), "holds": False, "summary": "it was taken back"}
    journal.add(30, FactKind.VERIFIED, back)
    report = report_of(journal.incident_state())
    assert key_figure(report, "Proof") == "holds"
    assert report.readings.figure("time_to_recover").value == pytest.approx(57.9)
    assert not any("NO PROOF HOLDS" in notice for notice in report.notices)


def test_restored_log_with_losses_is_not_called_complete() -> None:
    assert "complete but for 2 records" in report_of(full_incident()).compliance[0].answer


def test_half_readable_loss_list_is_unknown_rather_than_too_small() -> None:
    incident = changed(FactKind.VERIFIED, result={"lost": [[1, 2], ["x", 4]]})

    assert report_of(incident).readings.lost is None


def test_restored_records_are_told_by_where_they_came_from() -> None:
    restored = report_of(full_incident()).readings.restored

    assert restored is not None
    assert (restored.from_backup, restored.from_segments) == (42_000, 8_000)
    assert (restored.carried_over, restored.tombstones) == (609, 2)
    assert restored.records_after == 50_611


def test_carry_over_that_was_killed_and_repeated_is_counted_from_the_sizes() -> None:
    facts = []
    for fact in full_journal().facts:
        data = dict(fact.data)
        if fact.kind is FactKind.STEP_DONE and data["step"] == CARRY_OVER:
            data["result"] = {"carried_over": 3, "tombstones": 0, "size": 50_595}
        facts.append(replace(fact, data=data))

    restored = report_of(fold(INCIDENT, facts)).readings.restored

    assert restored is not None
    assert (restored.carried_over, restored.tombstones) == (609, 2)


def test_without_sizes_the_carried_records_are_summed_over_the_steps() -> None:
    journal = JournalBuilder()
    for step, result in (
        ("a", {"backup": "b.dump", "carried_over": 5, "tombstones": 1}),
        ("b", {"last_step": {"carried_over": 2, "tombstones": 0}}),
    ):
        journal.add(1, FactKind.STEP_DONE, {"step": step, "target": "t", "result": result})

    restored = report_of(journal.incident_state()).readings.restored

    assert restored is not None
    assert (restored.carried_over, restored.tombstones, restored.from_backup) == (7, 1, None)


def test_verified_log_says_that_nothing_was_found() -> None:
    verdict = Verdict(Status.VERIFIED, "table", 50_000, 50_000)
    journal = JournalBuilder()
    journal.add(0, FactKind.ALERT_RECEIVED, alert_fact())
    journal.add(1, FactKind.DIAGNOSED, diagnosis(verdict))

    report = report_of(journal.incident_state())

    assert "no record altered" in report.summary[1]
    assert key_figure(report, "Records damaged") == "0"


def test_unverifiable_log_says_why_it_could_not_tell() -> None:
    verdict = Verdict(Status.UNVERIFIABLE, "table", 0, 0, reason="no checkpoint is readable")
    journal = JournalBuilder().add(1, FactKind.DIAGNOSED, diagnosis(verdict))

    report = report_of(journal.incident_state())

    assert "could not tell" in report.summary[1]
    assert "no checkpoint is readable" in report.summary[1]


def test_positions_with_two_findings_are_counted_once() -> None:
    findings = (
        Finding(Code.MODIFIED, "table", 10, 5),
        Finding(Code.CHAIN_BREAK, "table", 12, 5),
        Finding(Code.MODIFIED, "table", 10, 5),
        Finding(Code.UNSIGNED_TAIL, "table", 100, 7),
    )

    damage = report_of(full_incident(verdict=tampered_verdict(findings))).readings.damage

    assert damage.affected == 7
    assert damage.by_code() == {"MODIFIED": 5, "CHAIN_BREAK": 5}


def test_counts_are_lower_bounds_when_the_journal_kept_fewer_findings() -> None:
    findings = tuple(Finding(Code.MODIFIED, "table", seq * 3) for seq in range(150))

    report = report_of(full_incident(verdict=tampered_verdict(findings)))

    assert "at least 100 records altered" in report.summary[1]
    assert key_figure(report, "Records damaged") == "≥ 100"


def test_dropped_table_is_damage_of_a_whole_artefact() -> None:
    findings = (Finding(Code.SOURCE_MISSING, "table", detail="relation does not exist"),)

    report = report_of(full_incident(verdict=tampered_verdict(findings)))

    assert "SOURCE_MISSING of the table" in report.summary[1]
    assert "whole artefacts" in answer(report, "Audit records damaged")


def test_denied_plan_leaves_a_report_that_nothing_was_changed() -> None:
    journal = JournalBuilder().add(0, FactKind.ALERT_RECEIVED, alert_fact())
    plan = restore_plan()
    journal.add(5, FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": plan.hash})
    journal.add(9, FactKind.PLAN_DECIDED, {"hash": plan.hash, "decision": "denied"}, "Grace Hopper")

    report = report_of(journal.incident_state())

    assert report.summary[2] == "Nothing was changed: the plan was denied by Grace Hopper."


def test_plan_that_expired_is_no_acknowledgement_by_a_person() -> None:
    journal = JournalBuilder().add(0, FactKind.ALERT_RECEIVED, alert_fact())
    plan = restore_plan()
    journal.add(5, FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": plan.hash})
    journal.add(9, FactKind.PLAN_DECIDED, {"hash": plan.hash, "decision": "expired"})

    figure = report_of(journal.incident_state()).readings.figure("time_to_acknowledge")

    assert figure.display == UNKNOWN


@pytest.mark.parametrize(
    "starts_at", ["", "yesterday", "0001-01-01T00:00:00Z", "2026-03-14T09:00:00Z", None, 7]
)
def test_absurd_start_of_an_alert_is_not_used(starts_at: object) -> None:
    incident = changed(FactKind.ALERT_RECEIVED, starts_at=starts_at)

    report = report_of(incident)

    assert report.readings.figure("time_to_detect").display == UNKNOWN
    assert report.readings.timeline[0].seq is not None


def test_timeline_begins_with_the_alerts_own_claim_before_the_first_fact() -> None:
    rows = report_of(full_incident()).readings.timeline

    assert (rows[0].seq, rows[0].since) == (None, -41.0)
    assert [row.seq for row in rows[1:]] == [fact.seq for fact in full_incident().facts]


def test_shortened_timeline_keeps_the_weighty_facts_before_the_routine_ones() -> None:
    rows = report_of(full_incident()).readings.timeline
    weighty = [row for row in rows if row.weight]

    kept, hidden = shortened(rows, len(weighty))

    assert list(kept) == weighty
    assert hidden == len(rows) - len(weighty)


def test_clock_that_was_stopped_in_time_is_kept() -> None:
    response, clock = report_of(full_incident()).readings.clocks

    assert response.clock == "response to P0"
    assert clock.state == "kept"


@pytest.mark.parametrize(
    ("later", "state"), [(timedelta(minutes=59), "running"), (timedelta(minutes=61), "MISSED")]
)
def test_clock_that_nobody_stopped_runs_and_is_missed_at_its_end(
    later: timedelta, state: str
) -> None:
    report = build_report(without(FactKind.CLOCK_STOPPED), ALERT_AT + later)

    assert report.readings.clocks[1].state == state
    assert ("missed" in " ".join(action.action for action in report.actions)) == (state == "MISSED")


def test_proven_alteration_proposes_new_credentials_and_every_owner_is_open() -> None:
    actions = report_of(full_incident()).actions

    assert any(action.action.startswith("Rotate the credentials") for action in actions)
    assert {action.owner for action in actions} == {"to be assigned"}


def test_healthy_audit_check_beside_proven_damage_is_named_in_the_detection_review() -> None:
    journal = full_journal()
    blind = {"step": "audit.sample", "component": "audit", "health": "Healthy", "summary": "fine"}
    journal.add(20, FactKind.CHECK_OBSERVED, blind)

    told = report_of(journal.incident_state()).detection

    assert "Said Healthy although damage was proven: audit.sample." in told


def test_hold_that_nobody_lifted_stands() -> None:
    (hold,) = report_of(without(FactKind.HOLD_LIFTED)).readings.holds

    assert hold.lifted == "stands"


@pytest.mark.parametrize(
    "data",
    [
        {"findings": "none", "checkpoint": [], "records": -1},
        {
            "findings": [7, {"seq": "x", "count": None}, {"seq": 10**40}],
            "checkpoint": {"size": "9"},
        },
        {"verdict": {"a": 1}, "findings": None, "seconds": "long"},
    ],
)
def test_diagnosis_of_strange_types_still_gives_a_report(data: Mapping[str, Any]) -> None:
    journal = JournalBuilder().add(1, FactKind.DIAGNOSED, data)

    report = report_of(journal.incident_state())

    assert report.readings.damage.signed is None
    assert len(report.summary) == 4


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4216, "0.42 s"),
        (59.94, "59.9 s"),
        (61, "1 min 1 s"),
        (3725, "1 h 2 min"),
        (93600, "1 d 2 h"),
        (-3, "-3.00 s"),
    ],
)
def test_duration_is_said_in_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_report_loads_neither_pandas_nor_prefect_nor_a_plotting_library() -> None:
    heavy = ("pandas", "numpy", "matplotlib", "prefect", "typst", "jinja2")
    code = (
        "import sys, tasks.domain.report, tasks.domain.plots;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
