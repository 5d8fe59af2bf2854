"""The one door: what keeps it closed, what goes through, and that each step goes through once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks.clients.errors import Transient
from tasks.domain.errors import NotApproved, PlanStale, TooManyChanges
from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import approvals, journal, locks
from tests.tasks.passing import Change, pass_with, refused, steps, through
from tests.tasks.proposals import (
    BEA,
    CARL,
    FIRST,
    OBSERVED,
    SECOND,
    TARGET,
    approved,
    proposed,
    replaced,
)

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets bounds of changes by their names in the settings."""

    def limit(**bounds: int) -> None:
        for name, value in bounds.items():
            monkeypatch.setenv(f"RUNBOOK_CHANGES__{name.upper()}", str(value))
        settings.cache_clear()

    yield limit
    settings.cache_clear()


def test_an_approved_plan_goes_through_and_leaves_its_facts() -> None:
    plan = approved()
    change = Change(fences=2)
    assert pass_with(plan.incident, change) == {"times": 3}
    assert steps(plan.incident) == [("step started", FIRST), ("step done", FIRST)]
    done = journal.read(plan.incident).steps[FIRST]
    assert (done["target"], done["summary"]) == (TARGET, "changed it")


def test_without_an_incident_or_a_plan_the_door_stays_closed() -> None:
    refused(NotApproved, "no plan", "INC-none")


def test_a_plan_that_waits_does_not_open_the_door() -> None:
    refused(NotApproved, "waiting", proposed().incident)


def test_one_of_two_needed_approvals_does_not_open_the_door() -> None:
    plan = proposed(approvers_needed=2)
    approvals.decide(plan.incident, plan.hash, "approved", BEA, "")
    refused(NotApproved, "waiting", plan.incident)
    approvals.decide(plan.incident, plan.hash, "approved", CARL, "")
    time.sleep(1.1)  # the next one's lease, which `refused` has left
    assert pass_with(plan.incident, Change()) == {"times": 1}


def test_a_denied_plan_does_not_open_the_door() -> None:
    plan = proposed()
    approvals.decide(plan.incident, plan.hash, "denied", BEA, "not this one")
    refused(NotApproved, "denied", plan.incident)


def test_a_plan_that_was_approved_but_expired_does_not_open_the_door() -> None:
    plan = proposed(valid_for=1)
    approvals.decide(plan.incident, plan.hash, "approved", BEA, "")
    time.sleep(1.1)
    refused(NotApproved, "expired", plan.incident)


@pytest.mark.parametrize("actor", ["anna", "runbook"])
def test_an_approval_by_the_opener_or_by_a_machine_counts_for_nothing(actor: str) -> None:
    plan = proposed(opened_by="anna")
    said = {"hash": plan.hash, "decision": "approved", "reason": "", "role": "approver"}
    journal.append(plan.incident, FactKind.PLAN_DECIDED, said, actor=actor)
    refused(NotApproved, "waiting", plan.incident)


def test_an_approval_of_the_plan_before_does_not_open_the_door() -> None:
    plan = approved()
    replaced(plan)
    refused(NotApproved, "waiting", plan.incident)


def test_a_step_that_the_plan_does_not_name_is_not_carried_out() -> None:
    plan = approved()
    change = Change()
    with pytest.raises(PlanStale, match=r"expected step database\.drop"):
        pass_with(plan.incident, change, step="database.drop")
    assert (change.made, steps(plan.incident)) == ([], [])


def test_a_denial_between_two_steps_stops_the_second() -> None:
    plan = approved()
    change = Change()
    with through(plan.incident) as passage:
        passage.carry_out(FIRST, change)
        approvals.decide(plan.incident, plan.hash, "denied", CARL, "stop")
        with pytest.raises(NotApproved, match="denied"):
            passage.carry_out(SECOND, change)
    assert change.made == ["begun"]
    assert steps(plan.incident)[-1] == ("step done", FIRST)


def test_a_plan_that_replaces_ours_between_two_steps_stops_the_second() -> None:
    plan = approved()
    change = Change()
    with through(plan.incident) as passage:
        passage.carry_out(FIRST, change)
        new = replaced(plan)
        with pytest.raises(NotApproved, match="waiting"):
            passage.carry_out(SECOND, change)
        approvals.decide(new.incident, new.hash, "approved", BEA, "")
        with pytest.raises(PlanStale, match=plan.hash[:12]):
            passage.carry_out(SECOND, change)
    assert change.made == ["begun"]


def test_another_state_than_the_planned_one_makes_the_plan_stale() -> None:
    plan = approved()
    other = {**OBSERVED, "production_oid": 16_401}
    refused(PlanStale, r"changes in \['production_oid'\]", plan.incident, observed=other)


@pytest.mark.parametrize(
    "other", [{"signed_root": "ab" * 32}, {**OBSERVED, "more": 1}], ids=["less", "more"]
)
def test_a_state_with_less_or_more_in_it_makes_the_plan_stale(other: dict[str, Any]) -> None:
    refused(PlanStale, "changes in", approved().incident, observed=other)


def test_after_the_first_step_the_state_may_differ_because_we_have_changed_it() -> None:
    plan = approved()
    pass_with(plan.incident, Change())
    other = {**OBSERVED, "production_oid": 16_401}
    assert pass_with(plan.incident, Change(), SECOND, observed=other) == {"times": 1}


def test_what_another_incident_has_just_mended_is_left_alone() -> None:
    first, second = approved(), approved()
    pass_with(first.incident, Change())
    refused(TooManyChanges, f"changed by {first.incident}", second.incident)


def test_the_cool_down_is_for_other_incidents_and_the_same_target_only(
    limited: Callable[..., None],
) -> None:
    first, second, third = approved(), approved(), approved()
    pass_with(first.incident, Change())
    assert pass_with(first.incident, Change(), SECOND) == {"times": 1}
    assert pass_with(second.incident, Change(), target="cache") == {"times": 1}
    limited(cooldown_minutes=0)
    assert pass_with(third.incident, Change()) == {"times": 1}


def test_the_policys_cool_down_counts_where_an_incident_was_opened_with_one() -> None:
    first, patient = approved(), approved()
    eager = approved(terms={"cooldown_minutes": 0})
    pass_with(first.incident, Change())
    assert pass_with(eager.incident, Change()) == {"times": 1}
    refused(TooManyChanges, "15 minutes ago", patient.incident)


def test_what_failed_as_often_as_the_hour_allows_is_left_to_a_person(
    limited: Callable[..., None],
) -> None:
    limited(per_hour=3)
    plan = approved()
    change = Change(fails=Transient("no answer"))
    for _ in range(3):
        with pytest.raises(Transient):
            pass_with(plan.incident, change)
    with pytest.raises(TooManyChanges, match="fewer than 3 changes"):
        pass_with(plan.incident, change)
    assert len(change.made) == 3
    assert pass_with(approved().incident, Change(), target="cache") == {"times": 1}


def test_a_change_that_is_half_done_is_finished_whatever_the_hours_cap(
    limited: Callable[..., None],
) -> None:
    limited(per_hour=1)
    plan = approved()
    pass_with(plan.incident, Change())
    assert pass_with(plan.incident, Change(), SECOND) == {"times": 1}


def test_a_step_that_is_done_is_not_repeated() -> None:
    plan = approved()
    first = pass_with(plan.incident, Change(fences=1))
    again = Change()
    assert pass_with(plan.incident, again) == first
    assert again.made == []
    assert steps(plan.incident) == [("step started", FIRST), ("step done", FIRST)]


def test_a_step_that_was_interrupted_is_called_again() -> None:
    plan = approved()
    with pytest.raises(KeyboardInterrupt):
        pass_with(plan.incident, Change(fails=KeyboardInterrupt()))
    assert steps(plan.incident) == [("step started", FIRST)]
    assert pass_with(plan.incident, Change()) == {"times": 1}
    started = ("step started", FIRST)
    assert steps(plan.incident) == [started, started, ("step done", FIRST)]


def test_a_step_that_failed_is_recorded_with_its_reason_and_lets_the_target_go() -> None:
    plan = approved()
    with pytest.raises(Transient, match="disk is full"):
        pass_with(plan.incident, Change(fails=Transient("the disk is full")))
    assert steps(plan.incident) == [("step started", FIRST), ("step failed", FIRST)]
    assert journal.read(plan.incident).facts[-1].data["error"] == "the disk is full"
    assert locks.take(TARGET, "the next one", 1).token == 2
