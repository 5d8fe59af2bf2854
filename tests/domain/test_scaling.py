"""How many replicas are allowed, by which change, and which pods may be restarted now."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.capacity import fit_in_quota, fit_on_nodes
from tasks.domain.disruption import RestartCaps, choose_restarts, why_not_now
from tasks.domain.errors import BadInput
from tasks.domain.pods import Node, PodState
from tasks.domain.scaling import (
    CannotScale,
    EnoughAlready,
    Means,
    Scaling,
    ScalingPolicy,
    Surroundings,
    scale_down,
    scale_up,
)
from tasks.domain.selectors import Operator, Requirement, Selector
from tasks.domain.workload_reading import read_deployment
from tasks.domain.workloads import Deployment, Hpa, Pdb, Quota
from tests.domain.cluster_values import NOW, after_undo, body, changed, pods, stateful

POLICY = ScalingPolicy(least=2, most=10, step=4)
FREE = Surroundings(quotas=(), nodes=None, pods=None, hpas=(), pdbs=())
API = Selector((Requirement("app", Operator.IN, ("rlhf-audit-trail",)),))


def api(replicas: int = 3) -> Deployment:
    raw = body("13-deployment-after-undo.json")
    return read_deployment(changed(raw, spec__replicas=replicas, status__replicas=replicas))


def node(name: str = "n", cpu: int = 1000, memory: int = 2**40, count: int = 110) -> Node:
    return Node(name, {"zone": "a"}, takes_pods=True, cpu=cpu * 10**6, memory=memory, pods=count)


def quota(hard: dict[str, str], used: dict[str, str] | None = None) -> Quota:
    return Quota(
        "team",
        {name: Fraction(text) for name, text in hard.items()},
        {name: Fraction(text) for name, text in (used or {}).items()},
    )


def hpa(minimum: int = 3, maximum: int = 8, name: str = "api", target: str = "") -> Hpa:
    target = target or "rlhf-audit-trail"
    return Hpa(name, "77", "Deployment", target, minimum, maximum, 3, 3, ())


def pdb(allowed: int = 1, desired: int = 2, **more: Any) -> Pdb:
    fixed = {"healthy": 3, "expected": 3, "always_unhealthy": False, "current": True}
    return Pdb(
        name="budget",
        selector=API,
        desired_healthy=desired,
        disruptions_allowed=allowed,
        **(fixed | more),
    )


def test_what_is_asked_for_is_allowed_when_nothing_is_against_it() -> None:
    found = scale_up(api(), 5, POLICY, FREE)
    assert isinstance(found, Scaling)
    assert (found.present, found.replicas, found.means, found.through) == (
        3, 5, Means.SCALE, "rlhf-audit-trail",
    )  # fmt: skip
    assert (found.resource_version, found.decided_by) == ("2471", "")


BOUNDS = {
    "our policy": (Surroundings((), None, None, (), ()), 7, 20, 9, "our policy"),
    "our policy's step": (FREE, 3, 20, 7, "our policy's step"),
    "a quota of pods": (
        replace(FREE, quotas=(quota({"pods": "9"}, {"pods": "8"}),)), 3, 6, 4, "the quota team",
    ),
    "a quota of memory": (
        replace(FREE, quotas=(quota({"requests.memory": str(40 * 2**20)}),)), 3, 6, 5,
        "the quota team",
    ),
    "the room on the nodes": (
        replace(FREE, nodes=(node(cpu=25),), pods=()), 3, 6, 5, "the room on the nodes",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("around", "has", "wanted", "gets", "by"), BOUNDS.values(), ids=BOUNDS)
def test_the_narrowest_bound_decides_and_is_named(
    around: Surroundings, has: int, wanted: int, gets: int, by: str
) -> None:
    policy = replace(POLICY, most=9)
    found = scale_up(api(has), wanted, policy, around)
    assert isinstance(found, Scaling)
    assert (found.replicas, found.decided_by) == (gets, by)


def test_a_bound_that_leaves_no_room_forbids_it_and_says_which() -> None:
    found = scale_up(api(), 5, POLICY, replace(FREE, quotas=(quota({"limits.cpu": "4"}),)))
    assert isinstance(found, CannotScale)  # the template declares no cpu limit
    assert "the quota team allows 3" in found.text


def test_an_autoscaler_is_not_fought_its_minimum_is_raised() -> None:
    found = scale_up(api(), 5, POLICY, replace(FREE, hpas=(hpa(target="other"), hpa())))
    assert isinstance(found, Scaling)
    assert (found.means, found.through, found.resource_version, found.replicas) == (
        Means.AUTOSCALER_MINIMUM, "api", "77", 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("autoscaler", "wanted", "kind"),
    [
        (hpa(maximum=3), 5, CannotScale),
        (hpa(minimum=5), 5, EnoughAlready),
        (hpa(maximum=4), 9, Scaling),
    ],
)
def test_an_autoscalers_bounds_hold(autoscaler: Hpa, wanted: int, kind: type) -> None:
    found = scale_up(api(), wanted, POLICY, replace(FREE, hpas=(autoscaler,)))
    assert isinstance(found, kind)
    if isinstance(found, Scaling):
        assert (found.replicas, found.decided_by) == (4, "maximum of the autoscaler api")


def test_two_autoscalers_or_an_unknown_one_end_it() -> None:
    both = scale_up(api(), 5, POLICY, replace(FREE, hpas=(hpa(), hpa(name="second"))))
    unknown = scale_up(api(), 5, POLICY, replace(FREE, hpas=None, unread=("403",)))
    assert isinstance(both, CannotScale)
    assert isinstance(unknown, CannotScale)


def test_an_autoscaler_of_nothing_rests_and_the_scale_itself_is_changed() -> None:
    found = scale_up(api(0), 3, POLICY, replace(FREE, hpas=(hpa(),)))
    assert isinstance(found, Scaling)
    assert (found.means, found.replicas) == (Means.SCALE, 3)


def test_what_could_not_be_read_is_told() -> None:
    around = replace(FREE, quotas=None, unread=("resourcequotas: refused",))
    found = scale_up(api(), 4, POLICY, around)
    assert isinstance(found, Scaling)
    assert found.unknown == ("resourcequotas: refused",)


def test_enough_replicas_are_nothing_to_do() -> None:
    assert isinstance(scale_up(api(), 3, POLICY, FREE), EnoughAlready)
    assert isinstance(scale_down(api(), 3, POLICY, FREE), EnoughAlready)


def test_scaling_down_stops_at_policy_and_disruption_budget() -> None:
    by_policy = scale_down(api(6), 0, POLICY, FREE)
    by_budget = scale_down(api(6), 0, POLICY, replace(FREE, pdbs=(pdb(desired=4),)))
    forbidden = scale_down(api(), 1, POLICY, replace(FREE, pdbs=(pdb(desired=3),)))
    autoscaled = scale_down(api(), 2, POLICY, replace(FREE, hpas=(hpa(),)))
    assert isinstance(by_policy, Scaling)
    assert (by_policy.replicas, by_policy.decided_by) == (2, "our policy")
    assert isinstance(by_budget, Scaling)
    assert (by_budget.replicas, by_budget.decided_by) == (4, "the disruption budget budget")
    assert isinstance(forbidden, CannotScale)
    assert isinstance(autoscaled, CannotScale)


def test_a_stateful_set_is_scaled_by_the_same_bounds() -> None:
    found = scale_up(stateful(), 5, POLICY, FREE)
    assert isinstance(found, Scaling)
    assert (found.through, found.replicas) == ("ledger", 5)


@given(
    has=st.integers(0, 30),
    wanted=st.integers(0, 60),
    most=st.integers(2, 40),
    step=st.integers(1, 10),
    used=st.integers(0, 50),
    minimum=st.integers(1, 20),
    spread=st.integers(0, 20),
    autoscaled=st.booleans(),
)
def test_no_step_ever_leaves_its_bounds_or_goes_the_other_way(
    *, has: int, wanted: int, most: int, step: int, used: int, minimum: int, spread: int,
    autoscaled: bool,
) -> None:  # fmt: skip
    policy = ScalingPolicy(2, most, step)
    around = replace(
        FREE,
        quotas=(quota({"pods": "50"}, {"pods": str(used)}),),
        hpas=(hpa(minimum, minimum + spread),) if autoscaled else (),
    )
    up = scale_up(api(has), wanted, policy, around)
    if isinstance(up, Scaling):
        assert has < up.replicas <= min(wanted, most, has + step, has + 50 - used)
        assert up.replicas > minimum or up.means is Means.SCALE
        assert up.means is Means.SCALE or up.replicas <= minimum + spread
    down = scale_down(api(has), wanted, policy, around)
    if isinstance(down, Scaling):
        assert max(wanted, 2) <= down.replicas < has


def test_a_policy_that_contradicts_itself_is_refused() -> None:
    for least, most, step in [(3, 2, 1), (-1, 2, 1), (1, 2, 0)]:
        with pytest.raises(BadInput):
            ScalingPolicy(least, most, step)


def test_room_on_nodes_counts_requests_slots_and_pods_that_wait() -> None:
    template = api().template  # 10m and 16Mi a pod
    running = pods("08-pods-all.json")  # all on node-1, 4 of them of 10m each
    assert fit_on_nodes([node("other", cpu=45)], running, template) == 4
    busy = fit_on_nodes([node("node-1", cpu=100)], running, template)
    asked = sum(each.resources.cpu_request or 0 for each in running) // 10**7
    assert busy == 10 - asked
    assert fit_on_nodes([node("other", count=2)], running, template) == 2
    waiting = [replace(each, node="") for each in running[:3]]
    assert fit_on_nodes([node("other", cpu=45)], waiting, template) == 1
    ended = [replace(each, node="other", phase="Succeeded") for each in running]
    assert fit_on_nodes([node("other", cpu=45)], ended, template) == 4
    assert fit_on_nodes([replace(node(), takes_pods=False)], (), template) == 0


def test_nodes_that_the_template_does_not_select_are_no_room() -> None:
    raw = changed(
        body("13-deployment-after-undo.json"), spec__template__spec__nodeSelector={"zone": "b"}
    )
    assert fit_on_nodes([node()], (), read_deployment(raw).template) == 0


def test_a_full_or_overdrawn_quota_leaves_no_room_and_foreign_resources_do_not_count() -> None:
    template = after_undo().template
    assert fit_in_quota(quota({"pods": "3"}, {"pods": "5"}), template) == 0
    assert fit_in_quota(quota({"count/secrets": "0"}), template) == 10**6


def api_pods() -> list[PodState]:
    return [each for each in pods("08-pods-all.json") if "bf7d6d4f7" in each.name]


def test_unready_pods_are_restarted_first_and_caps_hold() -> None:
    every = api_pods()
    every[2] = replace(every[2], ready=False)
    found = choose_restarts(every, every, 3, RestartCaps(share=0.7, number=5))
    assert [each.name for each in found.pods] == [every[2].name, every[0].name]
    assert found.left_out == (f"{every[1].name}: the cap of 2 restarts is reached",)
    assert RestartCaps(0.5, 1).of(10) == 1
    assert RestartCaps(0.1, 5).of(1) == 1


def test_pods_that_go_already_or_that_nothing_makes_anew_are_left_alone() -> None:
    every = api_pods()
    alone = next(each for each in pods("08-pods-all.json") if each.name == "postgres-pod")
    going = replace(every[0], deleting_since=NOW)
    gone = replace(every[1], uid="of-an-older-pod")
    found = choose_restarts(
        [going, gone, alone], [*every, alone], 3, RestartCaps(share=1, number=5)
    )
    assert found.pods == ()
    assert len(found.left_out) == 3


WHEN = {
    "all ready": ({}, pdb(), ""),
    "no budget left": ({}, pdb(allowed=0), "allows none now"),
    "status of an older spec": ({}, pdb(current=False), "not been worked out"),
    "another is down": ({2: False}, pdb(), "only 1 of the other 2"),
    "an unready one while the rest suffices": ({0: False}, pdb(allowed=0, healthy=2), ""),
    "an unready one while it does not": ({0: False}, pdb(allowed=0, healthy=1), "wants 2 healthy"),
    "an unready one by an indulgent budget": (
        {0: False}, pdb(allowed=0, healthy=1, always_unhealthy=True), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("ready", "budget", "reason"), WHEN.values(), ids=WHEN)
def test_a_pod_goes_only_while_the_others_carry_on(
    ready: dict[int, bool], budget: Pdb, reason: str
) -> None:
    every = [replace(each, ready=ready.get(place, True)) for place, each in enumerate(api_pods())]
    found = why_not_now(every[0], every, 3, [budget])
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_budget_of_other_pods_says_nothing() -> None:
    other = replace(pdb(allowed=0), selector=Selector((Requirement("app", Operator.IN, ("x",)),)))
    every = api_pods()
    assert why_not_now(every[0], every, 3, [other]) == ""
