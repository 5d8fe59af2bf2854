"""A database that does not answer: cut off, starting, or silent inside too; only that is ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_diagnosis import assess, diagnose
from tasks.domain.database_limits import GIB, Limits
from tasks.domain.database_plan import fits, plan_database_remedy, planned_instance
from tasks.domain.database_readings import DatabaseReadings, Disk, DiskSample, Unread
from tasks.domain.errors import BadInput
from tasks.domain.inside import Answer, Inside
from tasks.domain.instance_restart import Instance, InstanceKey, instance_of
from tasks.domain.mending import to_mend
from tasks.domain.pods import Owner, PodState, Stage
from tasks.domain.selectors import Selector
from tasks.domain.severity import Severity
from tasks.domain.storage import Claim, StorageClass
from tasks.domain.storage_causes import RESTART_DATABASE
from tasks.domain.storage_plan import STORAGE, StoragePolicy, storage_of
from tasks.domain.workloads import Pdb
from tests.domain.cluster_values import pods
from tests.domain.database_instances import instance
from tests.domain.database_sessions import NOW, readings

TARGET = "database/rlhf_audit"
OUTSIDE = "connection refused"
SILENT = Inside(Answer.SILENT, "pg_isready: no response")
SET = (Owner("StatefulSet", "postgresql", "s-1", controller=True),)


def away(**changes: Any) -> DatabaseReadings:
    known: dict[str, Any] = {"inside": SILENT, "instance": instance()}
    return DatabaseReadings(NOW, unreachable=OUTSIDE, **(known | changes))


def first(seen: DatabaseReadings) -> Cause:
    return diagnose(seen, TARGET, Limits())[0]


def filled(share: float) -> Disk:
    return Disk((DiskSample(NOW, round(20 * GIB * share)),), 20 * GIB)


def test_a_server_that_is_silent_inside_too_may_be_restarted_and_the_plan_says_what_is_lost() -> (
    None
):
    found = first(away())
    assert found.code == "db.unreachable"
    assert "nor in its pod" in found.summary
    plan = plan_database_remedy("INC-1", found, NOW + timedelta(hours=1))
    (step,) = plan.steps
    assert step.step == RESTART_DATABASE
    assert "every open transaction" in step.destroys
    assert "what was committed stays on claim data-postgresql-0" in plan.will_be_lost
    assert planned_instance(plan) == InstanceKey("postgresql-0", "u-1", "StatefulSet/postgresql")
    assert fits(plan, diagnose(away(), TARGET, Limits())) == dict(plan.observed)


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (
            {"inside": Inside(Answer.READY, "accepting connections")},
            "db.unreachable-from-outside",
            "accepts connections in its pod and none from outside",
        ),
        ({"inside": Inside(Answer.BUSY, "rejecting")}, "db.starting", "would begin that anew"),
        ({"inside": Inside(Answer.UNKNOWN, "grant pods/exec")}, "db.unreachable", "pods/exec"),
        ({"instance": Unread("grant the verb get on pods")}, "db.unreachable", "grant the verb"),
        ({"instance": None}, "db.unreachable", "set RUNBOOK_DATABASE__POD"),
        (
            {"instance": instance(refusal="no node takes pod postgresql-0")},
            "db.unreachable",
            "no node takes",
        ),
        ({"disk": filled(1.0)}, "db.disk-filling", "100%"),
    ],
)
def test_nothing_else_is_restarted_and_the_reason_is_said(
    changes: dict[str, Any], code: str, said: str
) -> None:
    seen = away(**changes)
    causes = diagnose(seen, TARGET, Limits())
    assert causes[0].code == code
    assert any(said in each.summary for each in causes)
    assert all(each.remedy is None for each in causes if each.code != "db.disk-filling")
    assert to_mend(causes) is None
    found = assess(causes)
    assert found is not None
    assert found.severity is Severity.P1


def test_a_server_that_answers_and_a_pod_that_does_not_are_perhaps_not_the_same() -> None:
    assert only(readings(inside=Inside(Answer.READY, ""))) == ()
    (found,) = only(readings(inside=SILENT))
    assert (found.code, found.confidence) == ("db.answers-disagree", Confidence.POSSIBLE)
    assert "RUNBOOK_DATABASE__POD" in found.summary


def only(seen: DatabaseReadings) -> tuple[Cause, ...]:
    return diagnose(seen, TARGET, Limits())


def test_a_pod_without_a_process_needs_nobody_to_ask_in_it() -> None:
    crashed = instance(runs=False, state="is waiting (CrashLoopBackOff), not ready", restarts=7)
    found = first(away(inside=Inside(Answer.UNKNOWN, "no such container"), instance=crashed))
    assert found.remedy is not None
    assert "its pod postgresql-0 is waiting (CrashLoopBackOff), not ready, 7 restarts" in (
        found.summary
    )


def test_a_server_that_died_of_a_full_disk_gets_room_and_no_restart() -> None:
    claim = Claim("data-postgresql-0", "7", "Bound", "fast", 20 * GIB, 20 * GIB, ())
    policy = StoragePolicy(1.5, GIB, 100 * GIB, 86_400)
    storage = storage_of(claim, StorageClass("fast", expandable=True), 20 * GIB, 0, policy)
    seen = away(disk=filled(1.0), storage=storage)
    chosen = to_mend(diagnose(seen, TARGET, Limits()))
    assert chosen is not None
    assert chosen.remedy is not None
    assert (chosen.code, chosen.remedy.step) == ("db.disk-filling", STORAGE)
    seen = replace(seen, disk=filled(0.9))  # full enough to say so, not to be why
    chosen = to_mend(diagnose(seen, TARGET, Limits()))
    assert chosen is not None
    assert chosen.code == "db.unreachable"


def test_a_plan_for_a_pod_that_was_replaced_or_whose_server_answers_again_fits_no_more() -> None:
    plan = plan_database_remedy("INC-1", first(away()), NOW + timedelta(hours=1))
    for seen in (
        away(instance=instance(uid="u-2")),
        away(inside=Inside(Answer.READY, "")),
        DatabaseReadings(NOW),
    ):
        assert fits(plan, diagnose(seen, TARGET, Limits())) != dict(plan.observed)


@pytest.mark.parametrize("missing", ["pod", "uid", "owner"])
def test_a_plan_that_names_no_pod_is_refused(missing: str) -> None:
    with pytest.raises(BadInput):
        InstanceKey.of(instance_key() | {missing: None})


def instance_key() -> dict[str, Any]:
    return InstanceKey("postgresql-0", "u-1", "StatefulSet/postgresql").as_json()


# The pod


def looked(state: PodState, claim: str = "data", pdbs: tuple[Pdb, ...] = ()) -> Instance:
    return instance_of(state, "", claim, replicas=1, siblings=[state], pdbs=pdbs, keeps_files=True)


def unready(**changes: Any) -> PodState:
    (recorded,) = (each for each in pods("08-pods-all.json") if each.name == "postgres-pod")
    return replace(recorded, name="postgresql-0", ready=False, owners=SET, **changes)


def waiting(reason: str) -> PodState:
    (container,) = unready().containers
    return unready(containers=(replace(container, stage=Stage.WAITING, reason=reason),))


def test_the_pod_of_a_stateful_set_on_a_claim_may_be_ended() -> None:
    found = looked(unready())
    assert (found.refusal, found.owner) == ("", "StatefulSet/postgresql")


@pytest.mark.parametrize(
    ("state", "claim", "said"),
    [
        (replace(unready(), owners=()), "data", "no controller"),
        (
            replace(unready(), owners=(Owner("ReplicaSet", "x", "r", controller=True),)),
            "data",
            "another name",
        ),
        (unready(), "", "lie on no claim: they would go with it"),
        (unready(deleting_since=datetime.now(UTC)), "data", "on its way out"),
        (unready(unschedulable="0/3 nodes are available"), "data", "0/3 nodes"),
        (waiting("ImagePullBackOff"), "data", "cannot be had"),
        (waiting("CreateContainerConfigError"), "data", "as it is written"),
    ],
)
def test_a_pod_that_would_not_come_back_is_left_alone(
    state: PodState, claim: str, said: str
) -> None:
    assert said in looked(state, claim).refusal


def test_a_disruption_budget_that_allows_none_is_kept() -> None:
    budget = Pdb("one", Selector(()), 0, 1, 1, 0, False, True)
    assert "wants 1 healthy pods first" in looked(unready(), pdbs=(budget,)).refusal
