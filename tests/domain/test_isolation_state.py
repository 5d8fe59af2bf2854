"""An isolation as facts tell it: until when it stands, who confirmed it, that it goes back once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.domain.escalation import pending_steps
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.isolation import ACCOUNTS, NETWORK, RETURN, UNLESS_CONFIRMED, Lock
from tasks.domain.isolation_plan import Isolating, Suspect, plan_isolation
from tasks.domain.isolation_state import Isolation, Word, is_due, isolation_of
from tasks.domain.plan import Plan
from tasks.domain.preserved import Preserved

START = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
INCIDENT = "INC-1"
Told = tuple[float, FactKind, dict[str, Any], str]


def isolating_plan(minutes: int = 60, incident: str = INCIDENT) -> Plan:
    roles = (Suspect(16_400, "mallory", Lock.ALLOWED),)
    what = Isolating(minutes, 3, None, roles, ("10.0.0.9",))
    evidence = Preserved(incident, "*", 3, "evidence/INC-1/3", 7)
    return plan_isolation(evidence, what, "rlhf_audit", "suspected", START + timedelta(hours=1))


def proposed(plan: Plan, minute: float = 1) -> Told:
    data = {"plan": plan.as_json(), "hash": plan.hash, "expires_at": plan.expires_at.isoformat()}
    return minute, FactKind.PLAN_PROPOSED, data, RUNBOOK


def begun(step: str, minute: float) -> Told:
    return minute, FactKind.STEP_STARTED, {"step": step, "target": "t"}, RUNBOOK


def done(step: str, minute: float) -> Told:
    return minute, FactKind.STEP_DONE, {"step": step, "target": "t", "result": {}}, RUNBOOK


def failed(minute: float, error: str = "away") -> Told:
    return minute, FactKind.STEP_FAILED, {"step": RETURN, "target": "t", "error": error}, RUNBOOK


def judged(word: str, minute: float, by: str = "sam") -> Told:
    data = {"word": word, "plan": isolating_plan().hash, "reason": "seen", "role": "security"}
    return minute, FactKind.ISOLATION_JUDGED, data, by


def incident(*more: Told) -> Incident:
    opened: Told = (0, FactKind.OPENED, {"title": "t", "component": "security"}, RUNBOOK)
    facts = [
        Fact(seq, INCIDENT, START + timedelta(minutes=minutes), kind, actor, data)
        for seq, (minutes, kind, data, actor) in enumerate([opened, *more])
    ]
    return fold(INCIDENT, facts)


def isolated(*more: Told) -> Isolation:
    found = isolation_of(incident(proposed(isolating_plan()), begun(ACCOUNTS, 10), *more))
    assert found is not None
    return found


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def test_without_a_begun_step_nothing_is_isolated() -> None:
    assert isolation_of(incident()) is None
    assert isolation_of(incident(proposed(isolating_plan()))) is None


def test_steps_of_another_procedures_plan_isolate_nothing() -> None:
    data = isolating_plan().as_json() | {"procedure": "database"}
    other = (1, FactKind.PLAN_PROPOSED, {"plan": data, "hash": "ab"}, RUNBOOK)
    assert isolation_of(incident(other, begun(ACCOUNTS, 2))) is None


def test_its_time_runs_from_the_first_begun_step_however_often_it_is_begun_again() -> None:
    again = isolated(begun(ACCOUNTS, 20), begun(NETWORK, 30))
    assert (again.begun_at, again.until) == (at(10), at(70))


@pytest.mark.parametrize("minutes", [0, -1, 10_081, 1.5, "60", None, True])
def test_a_time_that_cannot_be_read_is_the_shipped_one(minutes: object) -> None:
    kind, moment, data, actor = FactKind.PLAN_PROPOSED, 1.0, {}, RUNBOOK
    plan = isolating_plan().as_json()
    plan["observed"] = plan["observed"] | {"minutes": minutes}
    data = {"plan": plan, "hash": "ab"}
    found = isolation_of(incident((moment, kind, data, actor), begun(ACCOUNTS, 10)))
    assert found is not None
    assert found.until == at(10) + UNLESS_CONFIRMED


def test_unconfirmed_it_is_due_at_its_very_minute_and_not_before() -> None:
    found = isolated(done(ACCOUNTS, 11))
    assert not is_due(found, at(70) - timedelta(microseconds=1))
    assert is_due(found, at(70))


def test_confirmed_it_stays_and_a_later_word_takes_it_back_at_once() -> None:
    assert not is_due(isolated(judged("confirm", 20)), at(9000))
    back = isolated(judged("confirm", 20), judged("return", 21))
    assert is_due(back, at(21))
    assert (back.word, back.by) == (Word.RETURN, "sam")


def test_confirmed_after_a_word_to_return_it_stays_if_it_still_stands() -> None:
    assert not is_due(isolated(judged("return", 20), judged("confirm", 21)), at(9000))


def test_the_runbook_itself_confirms_nothing_and_odd_words_count_for_nothing() -> None:
    for said in (judged("confirm", 20, RUNBOOK), judged("yes", 20)):
        found = isolated(said)
        assert (found.word, is_due(found, at(70))) == (None, True)


def test_a_word_on_an_earlier_isolation_does_not_confirm_this_one() -> None:
    minute, kind, data, actor = judged("confirm", 20)
    found = isolated((minute, kind, data | {"plan": "0" * 64}, actor))
    assert is_due(found, at(70))


def test_who_denies_a_plan_that_was_begun_wants_it_back_at_once() -> None:
    said = {"hash": isolating_plan().hash, "decision": "denied", "role": "approver", "reason": ""}
    denied = (20, FactKind.PLAN_DECIDED, said, "bea")
    assert is_due(isolated(judged("confirm", 15), denied), at(20))
    approved = (20, FactKind.PLAN_DECIDED, {**said, "decision": "approved"}, "bea")
    assert not is_due(isolated(approved), at(20))
    assert not is_due(isolated((20, FactKind.PLAN_DECIDED, {**said, "hash": "0"}, "b")), at(20))


def test_taken_back_it_is_never_due_again_whatever_is_said() -> None:
    found = isolated(done(RETURN, 71), judged("return", 72))
    assert not found.stands
    assert not is_due(found, at(9000))


def test_a_return_that_failed_is_tried_again_with_growing_pauses_under_new_keys() -> None:
    pauses, keys, more = [], set(), []
    for attempt in range(8):
        found = isolated(*more)
        assert found.return_at is not None
        keys.add(found.return_key)
        pauses.append((found.return_at - at(70 + attempt)).total_seconds() / 60 if more else 0)
        more.append(failed(71 + attempt))
    assert len(keys) == 8
    assert pauses[1:6] == [5, 10, 20, 40, 60]
    assert pauses[7] == pauses[6] == 60


def test_a_word_after_a_failure_is_due_at_once_and_only_a_later_failure_makes_it_wait() -> None:
    said = isolated(failed(71), failed(76), judged("return", 77))
    assert said.return_at == at(77)
    again = isolated(failed(71), failed(76), judged("return", 77), failed(78))
    assert again.return_at == at(98)
    assert said.return_key != again.return_key


def test_the_same_attempt_has_one_key_however_often_it_is_looked_at() -> None:
    assert isolated().return_key == isolated(done(ACCOUNTS, 12)).return_key


def test_security_hears_at_half_its_time_unless_somebody_has_spoken() -> None:
    story = (proposed(isolating_plan()), begun(ACCOUNTS, 10))
    steps = {each.step: each for each in pending_steps(incident(*story))}
    told = steps["isolation-unconfirmed.2"]
    assert (told.contact, told.due_at) == ("security_team", at(40))
    assert "runbook isolation confirm INC-1" in told.reason
    spoken = pending_steps(incident(*story, judged("confirm", 20)))
    assert not [each for each in spoken if each.step.startswith("isolation")]


def test_a_return_that_failed_is_told_to_security_and_to_on_call_once() -> None:
    story = (proposed(isolating_plan()), begun(ACCOUNTS, 10), failed(71), failed(80))
    told = [each for each in pending_steps(incident(*story)) if "isolation-left" in each.step]
    assert [each.contact for each in told] == ["security_team", "on_call"]


def test_another_plan_that_isolates_is_another_isolation() -> None:
    second = isolating_plan(30)
    found = isolated(done(RETURN, 71), proposed(second, 80), begun(ACCOUNTS, 90))
    assert (found.plan_hash, found.stands, found.until) == (second.hash, True, at(120))
