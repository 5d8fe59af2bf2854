"""The plan that scales: what it names, what it returns to, and what is no such plan."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks.domain.causes import Cause, Confidence
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.plan import NOTHING, Plan
from tasks.domain.scale_plan import (
    RETURN_SCALE,
    SCALE_API,
    ScaleChange,
    plan_scaling,
    scale_remedial,
)
from tasks.domain.scaling import Scaling, ScalingPolicy, Surroundings, scale_down, scale_up
from tasks.domain.workload_reading import read_deployment
from tasks.domain.workloads import Hpa
from tests.domain.cluster_values import NOW, body, changed

POLICY = ScalingPolicy(1, 10, 4)
FREE = Surroundings(quotas=(), nodes=None, pods=None, hpas=(), pdbs=(), unread=("nodes: refused",))
HPA = Hpa("api", "77", "Deployment", "rlhf-audit-trail", 2, 8, 3, 3, ())


def planned(wanted: int = 5, around: Surroundings = FREE, has: int = 3) -> Plan:
    raw = body("13-deployment-after-undo.json")
    api = read_deployment(changed(raw, spec__replicas=has, status__replicas=has))
    decide = scale_up if wanted > has else scale_down
    decided = decide(api, wanted, POLICY, around)
    assert isinstance(decided, Scaling)
    remedy = scale_remedial(SCALE_API, api, decided, around)
    cause = Cause("api.short-of-cpu", "api", Confidence.LIKELY, "busy", {}, remedy)
    return plan_scaling("INC-1", cause, NOW + timedelta(hours=1))


def again(plan: Plan) -> Plan:
    return Plan.from_json(plan.as_json())


def test_the_plan_names_both_numbers_the_bounds_and_the_way_back() -> None:
    plan = planned()
    assert [each.step for each in plan.steps] == [SCALE_API, RETURN_SCALE]
    assert plan.steps[0].action == "scale deployment/rlhf-audit-trail from 3 to 5 replicas"
    assert "back to the former number of replicas, 3" in plan.steps[1].action
    assert {each.target for each in plan.steps} == {"deployment/rlhf-audit-trail"}
    assert plan.observed["bounds"] == ["7: our policy's step", "10: our policy"]
    assert plan.observed["unknown_bounds"] == ["nodes: refused"]
    assert plan.steps[0].destroys == plan.will_be_lost == NOTHING


def test_a_governed_workload_is_scaled_by_its_autoscalers_minimum_and_returns_to_that() -> None:
    plan = planned(around=replace(FREE, hpas=(HPA,)))
    change = ScaleChange.of(again(plan))
    assert (change.through, change.former, change.replicas, change.present) == ("api", 2, 5, 3)
    assert plan.steps[0].action.startswith("raise the minimum of the autoscaler api")
    assert "back to the former minimum, 2" in plan.steps[1].action


def test_scaling_down_says_what_it_destroys() -> None:
    plan = planned(wanted=1)
    assert plan.will_be_lost != NOTHING
    assert ScaleChange.of(plan).ends_pods


def test_a_plan_that_went_through_json_names_the_same_change() -> None:
    plan = planned()
    assert ScaleChange.of(again(plan)) == ScaleChange.of(plan)


def test_what_decided_is_told_to_who_approves() -> None:
    assert "no further, because of our policy's step" in planned(wanted=9).steps[0].action


def test_without_such_a_plan_nothing_is_scaled() -> None:
    with pytest.raises(PlanStale):
        ScaleChange.of(None)
    with pytest.raises(PlanStale):
        ScaleChange.of(replace(planned(), observed={"cause": "x"}))


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "DaemonSet"}, {"means": "delete"}, {"replicas": "5"}, {"replicas": -1},
     {"replicas": True}, {"name": 7}],
)  # fmt: skip
def test_a_change_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    plan = planned()
    with pytest.raises(BadInput):
        ScaleChange.of(replace(plan, observed={"scale": plan.observed["scale"] | wrong}))
