"""The plan that mends the API, and what tells afterwards whether it has."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tasks.domain.api_diagnosis import diagnose
from tasks.domain.api_plan import (
    PROCEDURE,
    blind_spots,
    blind_to,
    plan_api_remedy,
    remedy_step,
    still_noticed,
)
from tasks.domain.api_readings import ApiReadings, Need, Unread
from tasks.domain.causes import Cause, Confidence
from tasks.domain.errors import BadInput
from tasks.domain.observation import Health
from tasks.domain.plan import NOTHING, Plan
from tasks.domain.restart_plan import RESTART
from tasks.domain.rollback_plan import RETURN, UNDO
from tasks.domain.scale_plan import RETURN_SCALE, SCALE_API
from tests.domain.api_values import LIMITS, NOW, WELL, impact, look, pod, released, traffic, usage

UNTIL = NOW + timedelta(hours=1)
BUSY = tuple(usage(number, 0.99) for number in (1, 2, 3))


def plan_of(seen: ApiReadings) -> Plan:
    return plan_api_remedy("INC-1", diagnose(seen, LIMITS)[0], UNTIL)


def restart() -> Plan:
    return plan_of(look(pods=(pod(1, ready=False), pod(2), pod(3))))


def scale() -> Plan:
    return plan_of(look(traffic=traffic(p95=0.9), usage=BUSY))


def undo() -> Plan:
    bad = released()
    serving = tuple(pod(number, of=bad) for number in (1, 2, 3))
    return plan_of(look(looked=released(serving), pods=serving, traffic=traffic(errors=3.0)))


@pytest.mark.parametrize(
    ("plan", "steps", "lost"),
    [
        (restart(), [RESTART], "what these pods hold in memory"),
        (scale(), [SCALE_API, RETURN_SCALE], NOTHING),
        (undo(), [UNDO, RETURN], "what the pods of the revision that is left"),
    ],
    ids=["restart", "scale", "undo"],
)
def test_each_remedy_has_its_steps_and_its_way_back(
    plan: Plan, steps: list[str], lost: str
) -> None:
    assert [each.step for each in plan.steps] == steps
    assert plan.will_be_lost.startswith(lost)
    assert (plan.procedure, remedy_step(plan)) == (PROCEDURE, steps[0])
    assert Plan.from_json(plan.as_json()).hash == plan.hash
    assert remedy_step(replace(plan, procedure="database")) == ""


def test_a_cause_without_a_remedy_of_ours_is_no_plan() -> None:
    with pytest.raises(BadInput):
        plan_api_remedy("INC-1", Cause("x", "api", Confidence.LIKELY, "?"), UNTIL)


def test_what_showed_the_cause_must_be_seen_to_call_it_gone() -> None:
    assert blind_to(restart(), look()) == ""
    assert blind_to(restart(), look(pods=Unread("403"))) == "pods: 403"
    assert blind_to(restart(), look(traffic=Unread("down"))) == ""
    assert blind_to(scale(), look(traffic=Unread("down"))) == "traffic: down"
    few = replace(traffic(), impact=impact(requests=0.05))
    assert blind_to(scale(), look(traffic=few)) == "too few requests to tell"
    assert blind_to(undo(), look(pods=Unread("403"))) == ""


def test_what_users_showed_is_there_as_long_as_they_notice_it() -> None:
    assert still_noticed(scale(), look(), LIMITS) == ""
    assert "p95 900 ms" in still_noticed(scale(), look(traffic=traffic(p95=0.9)), LIMITS)
    assert still_noticed(restart(), look(traffic=traffic(p95=0.9)), LIMITS) == ""


def test_nobody_is_told_that_all_is_well_who_could_not_look() -> None:
    assert blind_spots(look()) == ()
    assert blind_spots(look(usage=Unread("no metrics server"))) == ()
    assert blind_spots(look(traffic=Unread("no Prometheus"))) == ("traffic: no Prometheus",)
    assert blind_spots(look(answers=Need(Health.UNKNOWN, "a page"))) == ("answers: a page",)
    unseen = WELL | {"cache": Need(Health.UNKNOWN, "refused")}
    assert blind_spots(look(needs=unseen)) == ("cache: refused",)
