"""The plan of a rollback: where it leads and why, what it names, and what is left to do of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.domain.causes import Confidence
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import fold
from tasks.domain.mending import planned_cause, to_mend
from tasks.domain.outcome import Ending
from tasks.domain.plan import Plan
from tasks.domain.pods import Condition
from tasks.domain.release_diagnosis import diagnose, effect_of, nothing_to_undo
from tasks.domain.rollback_plan import (
    DESTROYS,
    RETURN,
    UNDO,
    Planned,
    WayBack,
    approvers_of,
    next_change,
    plan_rollback,
    planned_in,
    read_planned,
    undo_remedial,
    way_back,
)
from tasks.domain.rollback_record import evidence_of_rollbacks
from tasks.domain.rollback_wish import RollbackWish
from tasks.domain.rollout import AlreadyThere, Undo
from tasks.domain.rollout_evidence import Evidence, Sighting, Worth, deployment_evidence
from tasks.domain.rollout_history import CannotUndo, Why, deployment_history, stateful_set_history
from tasks.domain.rollout_lines import history_lines
from tasks.domain.rollout_look import Looked, template_digest
from tasks.domain.rollout_status import Progress
from tasks.domain.template_changes import template_changes
from tasks.domain.workload_reading import read_controller_revision, read_replica_set
from tasks.domain.workloads import Kind
from tests.domain.cluster_values import (
    BAD,
    FIRST,
    GOOD,
    NOW,
    after_undo,
    body,
    changed,
    controller_revision_body,
    failed_release,
    pods,
    replica_sets,
    stateful,
)

TARGET = "deployment/rlhf-audit-trail"
SETS = "04-replicasets-three-revisions.json"


def failed(seen: tuple[Sighting, ...] = (), **paths: Any) -> Looked:
    """The recorded release with a missing image, while the one before still serves."""
    deployment = failed_release(**paths)
    history = deployment_history(deployment, replica_sets())
    assert not isinstance(history, CannotUndo)
    return Looked(deployment, history, deployment_evidence(deployment, history, pods(), seen))


def undone() -> Looked:
    """The same, after the recorded undo."""
    deployment = after_undo()
    sets = replica_sets("14-replicasets-after-undo.json")
    history = deployment_history(deployment, sets)
    assert not isinstance(history, CannotUndo)
    return Looked(deployment, history, deployment_evidence(deployment, history))


def way(looked: Looked) -> WayBack:
    found = way_back(looked)
    assert isinstance(found, WayBack), found
    return found


def planned(looked: Looked | None = None) -> Planned:
    return read_planned(undo_remedial(way(looked or failed())).arguments)


def plan() -> Plan:
    (cause,) = diagnose(failed())
    return plan_rollback("INC-1", cause, NOW + timedelta(hours=1))


def renumbered(name: str, holder: str, number: int) -> Looked:
    """A recorded history in which one revision has another number: somebody went back to it."""
    raw = body(name)["items"]
    for each in raw:
        if each["metadata"]["name"] == holder:
            each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = str(number)
    deployment = failed_release(
        metadata__annotations={"deployment.kubernetes.io/revision": str(number)}
    )
    history = deployment_history(deployment, [read_replica_set(each) for each in raw])
    assert not isinstance(history, CannotUndo)
    return Looked(deployment, history)


def test_the_way_back_leads_to_the_revision_that_serves_with_its_evidence() -> None:
    found = way(failed())
    assert (found.bad.holder, found.good.holder) == (BAD, GOOD)
    assert found.because == ("3 of 3 replicas are available now",)


def test_the_remedy_names_workload_and_revisions_by_what_stays_and_no_version() -> None:
    remedy = undo_remedial(way(failed()))
    assert (remedy.step, remedy.target, remedy.destroys) == (UNDO, TARGET, DESTROYS)
    assert "known good: 3 of 3 replicas are available now" in remedy.action
    found = read_planned(remedy.arguments)
    assert (found.bad.holder, found.bad.number) == (BAD, 3)
    assert (found.good.holder, found.good.number) == (GOOD, 2)
    later = undo_remedial(way(failed(metadata__resourceVersion="9999")))
    assert later.arguments == remedy.arguments
    assert remedy.arguments["changes"] == [
        "image of api: registry.local/missing:9 -> registry.local/busybox:1"
    ]


def test_the_plan_holds_its_return_as_a_step_that_people_approve_too() -> None:
    made = plan()
    assert [each.step for each in made.steps] == [UNDO, RETURN]
    assert "only if the rollback fails" in made.steps[1].action
    assert "revision 3 (registry.local/missing:9)" in made.steps[1].action
    assert planned_cause(made) == "release.stalled"
    assert not made.destroys_nothing
    assert made.will_be_lost.startswith("what the pods of the revision that is left hold")
    again = Plan.from_json(made.as_json())
    assert planned_in(again) == planned_in(made)


def test_an_undo_that_was_applied_is_recognised_and_not_made_again() -> None:
    assert isinstance(next_change(failed(), planned()), Undo)
    after = next_change(undone(), planned())
    assert isinstance(after, AlreadyThere)
    assert after.revision.holder == GOOD


def test_the_return_leads_to_the_bad_revision_again_and_is_recognised_as_well() -> None:
    back = planned().returning()
    change = next_change(undone(), back)
    assert isinstance(change, Undo)
    assert change.revision.holder == BAD
    assert isinstance(next_change(failed(), back), AlreadyThere)


def test_who_went_to_the_bad_revision_once_more_is_not_undone_by_the_old_plan() -> None:
    again = renumbered(SETS, BAD, 5)
    assert template_digest(again.workload.template.content) == planned().bad.template
    with pytest.raises(PlanStale, match="or this one once more"):
        next_change(again, planned())


STALE = {
    "deleted and made anew": ({"metadata__uid": "another"}, "made anew"),
    "paused": ({"spec__paused": True}, "resume it first"),
    "another release": (
        {"spec__template__metadata__annotations": {"config": "2"}},
        "another revision was released",
    ),
}


@pytest.mark.parametrize(("paths", "says"), STALE.values(), ids=STALE)
def test_what_has_become_another_workload_makes_the_plan_stale(
    paths: dict[str, Any], says: str
) -> None:
    with pytest.raises(PlanStale, match=says):
        next_change(failed(**paths), planned())


def test_a_good_revision_that_is_no_longer_kept_makes_the_plan_stale() -> None:
    looked = failed()
    gone = replace(looked, history=tuple(each for each in looked.revisions if each.holder != GOOD))
    with pytest.raises(PlanStale, match="no longer kept"):
        next_change(gone, planned())


NO_WAY = {
    "paused": ({"spec__paused": True}, Why.PAUSED, "is paused: resume it first"),
    "no revision number": ({"metadata__annotations": {}}, Why.UNKNOWN_REVISION, "wait"),
}


@pytest.mark.parametrize(("paths", "why", "says"), NO_WAY.values(), ids=NO_WAY)
def test_where_there_is_no_way_back_the_cause_has_no_remedy_and_people_read_why(
    paths: dict[str, Any], why: Why, says: str
) -> None:
    looked = failed(**paths)
    found = way_back(looked)
    assert isinstance(found, CannotUndo)
    assert found.why is why
    causes = diagnose(looked)
    assert to_mend(causes) is None
    outcome = nothing_to_undo(looked, causes)
    assert outcome.ending is Ending.MANUAL
    assert says in outcome.summary


def test_undoing_twice_is_refused_because_nothing_speaks_for_what_is_left() -> None:
    found = way_back(undone())
    assert isinstance(found, CannotUndo)
    assert found.why is Why.NO_EVIDENCE


def test_a_person_may_name_a_revision_of_which_nothing_is_known() -> None:
    found = way_back(undone(), wanted=FIRST)
    assert isinstance(found, WayBack)
    assert (found.good.holder, found.because) == (FIRST, ("a person has named this revision",))


@pytest.mark.parametrize(
    ("holder", "why"), [("nobody", Why.UNKNOWN_REVISION), (GOOD, Why.ALREADY_THERE)]
)
def test_a_named_revision_must_be_kept_and_be_another(holder: str, why: Why) -> None:
    found = way_back(undone(), wanted=holder)
    assert isinstance(found, CannotUndo)
    assert found.why is why


def test_a_release_without_a_fault_is_no_cause_until_a_person_wants_it_gone() -> None:
    seen = (Sighting(FIRST, 3, NOW, "kept"),)
    looked = undone()
    looked = replace(looked, evidence=deployment_evidence(after_undo(), looked.revisions, (), seen))
    assert diagnose(looked) == ()
    assert nothing_to_undo(looked, ()).ending is Ending.NO_ACTION
    (cause,) = diagnose(looked, RollbackWish(TARGET, "", "rosa"))
    assert (cause.code, cause.confidence) == ("release.unwanted", Confidence.LIKELY)
    assert cause.remedy is not None
    assert read_planned(cause.remedy.arguments).good.holder == FIRST


def test_the_release_that_cannot_start_is_proven_and_comes_before_the_wish() -> None:
    causes = diagnose(failed(), RollbackWish(TARGET, "", "rosa"))
    assert [each.code for each in causes] == ["release.stalled", "release.unwanted"]
    assert "ErrImageNeverPull" in str(causes[0].evidence)


def test_the_effect_is_whole_only_at_the_planned_revision_and_when_it_is_rolled_out() -> None:
    gone = effect_of(undone(), planned(), "release.stalled")
    assert gone.gone
    assert "release.stalled is gone" in gone.text
    left = effect_of(failed(), planned(), "release.stalled")
    assert (left.gone, left.causes) == (False, ("release.stalled",))
    still = effect_of(
        replace(undone(), workload=replace(after_undo(), available=1)), planned(), "release.stalled"
    )
    assert not still.gone
    assert "1 of 3 new replicas are available" in still.text


def test_a_rollback_that_still_goes_on_is_not_returned_from_but_one_that_failed_is() -> None:
    slow = replace(undone(), workload=replace(after_undo(), available=1))
    assert effect_of(slow, planned(), "release.stalled").unseen
    stuck = Condition("Progressing", "False", "ProgressDeadlineExceeded", "", None)
    dead = replace(undone(), workload=replace(after_undo(), available=1, conditions=(stuck,)))
    found = effect_of(dead, planned(), "release.stalled")
    assert (found.gone, found.unseen) == (False, False)


def test_a_stateful_set_is_rolled_back_only_by_two_people() -> None:
    made = planned()
    assert approvers_of(made) == 1
    assert approvers_of(replace(made, kind=Kind.STATEFUL_SET)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"workload": []},
        {"workload": {"kind": "DaemonSet", "name": "x", "uid": "u"}},
        {"workload": {"kind": "Deployment", "name": "", "uid": "u"}},
        {"bad": {}},
        {"good": {"holder": "h", "uid": "u", "number": "2", "template": "t"}},
    ],
)
def test_arguments_that_name_nothing_are_no_rollback(wrong: dict[str, Any]) -> None:
    arguments = dict(undo_remedial(way(failed())).arguments)
    with pytest.raises(BadInput):
        read_planned(wrong and arguments | wrong)


def test_a_stateful_set_goes_back_by_its_controller_revisions() -> None:
    it = stateful()
    kept = [
        read_controller_revision(controller_revision_body(number, f"postgres:{number}"))
        for number in (1, 2)
    ]
    history = stateful_set_history(it, kept)
    assert not isinstance(history, CannotUndo)
    seen = (Evidence("ledger-1", Worth.HEALTHY, "every pod was ready with it"),)
    looked = Looked(it, history, seen, tuple(kept))
    found = planned(looked)
    assert (found.target, found.good.holder) == ("statefulset/ledger", "ledger-1")
    change = next_change(looked, found)
    assert isinstance(change, Undo)
    assert isinstance(change.patch, dict)


def test_a_stateful_set_whose_pods_nobody_replaces_is_left_to_people() -> None:
    it = stateful(spec__updateStrategy={"type": "OnDelete"})
    kept = [read_controller_revision(controller_revision_body(2, "postgres:2"))]
    history = stateful_set_history(it, kept)
    assert not isinstance(history, CannotUndo)
    found = way_back(Looked(it, history, (), tuple(kept)))
    assert isinstance(found, CannotUndo)
    assert found.why is Why.BY_HAND


# What our own rollbacks have shown


def done(
    step: str, left: str, wanted: str, *, progress: Progress = Progress.DONE, minute: int = 0
) -> Fact:
    at = NOW + timedelta(minutes=minute)
    result = {"workload": TARGET, "left": left, "wanted": wanted, "progress": progress.value}
    data = {"step": step, "target": TARGET, "result": result}
    return Fact(minute, "INC-1", at, FactKind.STEP_DONE, "runbook", data)


def against(*facts: Fact, seen: tuple[Sighting, ...] = ()) -> set[str]:
    return {each.holder for each in evidence_of_rollbacks(facts, TARGET, seen)}


def test_a_release_that_was_rolled_back_is_not_returned_to_although_it_was_seen_serving() -> None:
    """It answered with errors, so all its pods were available: undoing twice would bring it back"""
    seen = (Sighting(BAD, 3, NOW - timedelta(days=1), "kept"),)
    looked = undone()
    facts = [done(UNDO, BAD, GOOD)]
    told = deployment_evidence(after_undo(), looked.revisions, (), seen)
    assert isinstance(way_back(replace(looked, evidence=told)), WayBack)
    ours = evidence_of_rollbacks(facts, TARGET, seen)
    assert isinstance(way_back(replace(looked, evidence=told + ours)), CannotUndo)


def test_what_rollbacks_say_of_revisions() -> None:
    assert against(done(UNDO, BAD, GOOD)) == {BAD}
    assert against(done(UNDO, BAD, GOOD, progress=Progress.FAILED)) == {BAD, GOOD}
    assert against(done(UNDO, BAD, GOOD, progress=Progress.UPDATING)) == {BAD}
    whole_but_no_help = (done(UNDO, BAD, GOOD), done(RETURN, GOOD, BAD, minute=1))
    assert against(*whole_but_no_help) == set()
    failed_and_returned = (
        done(UNDO, BAD, GOOD, progress=Progress.FAILED),
        done(RETURN, GOOD, BAD, minute=1),
    )
    assert against(*failed_and_returned) == {GOOD}
    later = (Sighting(BAD, 3, NOW + timedelta(days=1), "kept"),)
    assert against(done(UNDO, BAD, GOOD), seen=later) == set()


def test_facts_of_others_and_odd_ones_say_nothing() -> None:
    odd = [
        replace(done(UNDO, BAD, GOOD), data={"step": UNDO, "target": TARGET, "result": text})
        for text in (
            "text",
            {"workload": TARGET, "left": 7, "wanted": None},
            {"workload": TARGET, "left": "x" * 300},
            {"workload": "deployment/x", "left": BAD},
            None,
        )
    ]
    other = replace(done(UNDO, BAD, GOOD), data={"step": UNDO, "target": "deployment/x"})
    assert against(*odd, other) == set()


# A person's wish


def asked(actor: str, **data: str) -> Fact:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return Fact(2, "INC-1", at, FactKind.ROLLBACK_ASKED, actor, data)


def test_whoever_asks_for_a_rollback_may_not_approve_it_and_the_runbook_cannot_ask() -> None:
    state = fold("INC-1", [asked("rosa", workload=TARGET, holder=GOOD, reason="5xx")])
    assert state.rollback == RollbackWish(TARGET, GOOD, "rosa")
    assert "rosa" in state.asked_by
    assert fold("INC-1", [asked("runbook", workload=TARGET)]).rollback is None
    assert fold("INC-1", [asked("rosa", holder=GOOD)]).rollback is None


# What people see


def test_the_history_says_images_causes_times_and_what_is_known_of_each() -> None:
    lines = history_lines(failed())
    assert [(each.number, each.current) for each in lines] == [(3, True), (2, False), (1, False)]
    assert lines[0].known.startswith("failed: pod ")
    assert lines[1].known == "healthy: 3 of 3 replicas are available now"
    assert lines[2].known == "nothing is known of it"
    assert lines[0].who == "kubectl-set"
    assert all(each.at is not None for each in lines)


def container(**more: Any) -> dict[str, Any]:
    return {"name": "api", "image": "registry/api:2", **more}


def template(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": list(containers), **spec}}


def test_the_difference_names_images_environment_and_resources_but_never_a_value_of_it() -> None:
    now = template(
        container(
            env=[{"name": "TOKEN", "value": "s3cret-1"}, {"name": "NEW", "value": "s3cret-2"}],
            resources={"limits": {"memory": "32Mi"}},
            args=["--password", "s3cret-3"],
        )
    )
    then = template(
        container(
            image="registry/api:1",
            env=[{"name": "TOKEN", "value": "s3cret-4"}, {"name": "OLD", "value": "s3cret-5"}],
            resources={"limits": {"memory": "64Mi"}},
            args=["--password", "s3cret-6"],
        ),
        serviceAccountName="audit",
    )
    lines = template_changes(now, then)
    assert lines == (
        "image of api: registry/api:2 -> registry/api:1",
        "environment: NEW of api goes (values are not shown)",
        "environment: OLD of api comes back (values are not shown)",
        "environment: TOKEN of api changes (values are not shown)",
        "limits of api: memory 32Mi -> 64Mi",
        "spec.containers[api].args changes",
        "spec.serviceAccountName comes back",
    )
    assert "s3cret" not in "".join(lines)


def test_a_hostile_template_makes_a_bounded_and_harmless_list() -> None:
    evil = "a\u202eb\n|"
    now = template(container(name=evil, image=evil * 300))
    then = template(*(container(name=f"{evil}{number}") for number in range(100)))
    lines = template_changes(now, then)
    assert len(lines) == 41
    assert lines[-1].startswith("and ")
    assert all(each.isprintable() and len(each) < 600 for each in lines)


def test_templates_that_differ_only_by_what_controllers_write_do_not_differ() -> None:
    raw = body(SETS)["items"][0]["spec"]["template"]
    plain = changed(raw, metadata__creationTimestamp=None)
    plain["metadata"]["labels"].pop("pod-template-hash", None)
    assert template_changes(raw, plain) == ()
    assert template_digest(raw) == template_digest(plain)
