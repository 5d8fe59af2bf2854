"""Where a rollout is, what is known of revisions, and the way back."""

from datetime import timedelta
from typing import Any

import pytest

from tasks.domain.rollout import (
    AlreadyThere,
    Undo,
    known_good,
    undo_deployment,
    undo_stateful_set,
    without_hash,
)
from tasks.domain.rollout_evidence import (
    Sighting,
    Worth,
    deployment_evidence,
    sightings_of,
    stateful_set_evidence,
)
from tasks.domain.rollout_history import (
    CannotUndo,
    Why,
    deployment_history,
    stateful_set_history,
)
from tasks.domain.rollout_status import Progress, deployment_status, stateful_set_status
from tasks.domain.workload_reading import (
    RESTARTED_AT,
    read_controller_revision,
    read_deployment,
    read_replica_set,
)
from tasks.domain.workloads import Revision
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

STATUS = {
    "recorded: progressing": ("02-deployment-rollout-progressing.json", {}, Progress.UPDATING),
    "recorded: deadline": ("03-deployment-deadline-exceeded.json", {}, Progress.FAILED),
    "recorded: undone": ("13-deployment-after-undo.json", {}, Progress.DONE),
    "the change is not observed, and the old deadline says nothing of it": (
        "03-deployment-deadline-exceeded.json",
        {"metadata__generation": 6},
        Progress.UNOBSERVED,
    ),
    "a deadline counts before the replicas do": (
        "03-deployment-deadline-exceeded.json",
        {"status__updatedReplicas": 3, "status__replicas": 3},
        Progress.FAILED,
    ),
    "old replicas remain": (
        "13-deployment-after-undo.json",
        {"status__replicas": 4},
        Progress.ENDING_OLD,
    ),
    "new ones are not available, although Available is True": (
        "13-deployment-after-undo.json",
        {"status__availableReplicas": None},
        Progress.BECOMING_AVAILABLE,
    ),
    "scaled to nothing": (
        "13-deployment-after-undo.json",
        {"spec__replicas": 0, "status": {"observedGeneration": 6}},
        Progress.DONE,
    ),
    "no status at all": ("13-deployment-after-undo.json", {"status": None}, Progress.UNOBSERVED),
}


@pytest.mark.parametrize(("name", "paths", "progress"), STATUS.values(), ids=STATUS)
def test_a_rollout_is_where_kubectl_would_say(
    name: str, paths: dict[str, Any], progress: Progress
) -> None:
    found = deployment_status(read_deployment(changed(body(name), **paths)))
    assert found.progress is progress
    assert progress.final == (progress in {Progress.DONE, Progress.FAILED})


@pytest.mark.parametrize(
    ("paths", "progress"),
    [
        ({}, Progress.BECOMING_AVAILABLE),
        ({"status__readyReplicas": 3}, Progress.UPDATING),
        ({"status__readyReplicas": 3, "status__currentRevision": "ledger-2"}, Progress.DONE),
        ({"metadata__generation": 4}, Progress.UNOBSERVED),
        ({"status__observedGeneration": 0}, Progress.UNOBSERVED),
        ({"spec__updateStrategy": {"type": "OnDelete"}}, Progress.UNWATCHABLE),
        (
            {
                "status__readyReplicas": 3,
                "spec__updateStrategy__rollingUpdate__partition": 2,
            },
            Progress.DONE,
        ),
        (
            {
                "status__readyReplicas": 3,
                "spec__updateStrategy__rollingUpdate__partition": 1,
            },
            Progress.UPDATING,
        ),
    ],
)
def test_a_stateful_sets_rollout_is_where_kubectl_would_say(
    paths: dict[str, Any], progress: Progress
) -> None:
    assert stateful_set_status(stateful(**paths)).progress is progress


def history_of(deployment: Any, sets: list[Any]) -> tuple[Revision, ...]:
    found = deployment_history(deployment, sets)
    assert not isinstance(found, CannotUndo), found
    return found


def test_the_history_shows_numbers_images_causes_and_times_newest_first() -> None:
    history = history_of(failed_release(), replica_sets())

    assert [(each.number, each.holder, each.images, each.current) for each in history] == [
        (3, BAD, ("registry.local/missing:9",), True),
        (2, GOOD, ("registry.local/busybox:1",), False),
        (1, FIRST, ("registry.local/busybox:1",), False),
    ]
    # The recorded trap: the good revision bears the bad one's cause.
    assert history[1].change_cause == "release 1.5.0 (bad image)"
    assert all(each.created_at for each in history)


def test_replica_sets_of_others_with_the_same_labels_are_no_history() -> None:
    raw = body("04-replicasets-three-revisions.json")["items"]
    raw[0]["metadata"]["ownerReferences"][0]["uid"] = "of-a-deployment-that-is-gone"
    raw[1]["metadata"]["ownerReferences"] = []

    history = history_of(failed_release(), [read_replica_set(each) for each in raw])

    assert [each.holder for each in history] == [BAD]


@pytest.mark.parametrize("how", ["two controllers", "owner that controls nothing", "same number"])
def test_a_history_that_is_not_certain_is_refused(how: str) -> None:
    raw = body("04-replicasets-three-revisions.json")["items"]
    owners = raw[1]["metadata"]["ownerReferences"]
    if how == "two controllers":
        owners.append(owners[0] | {"uid": "somebody-else"})
    elif how == "owner that controls nothing":
        owners[0]["controller"] = False
    else:
        raw[1]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"

    found = deployment_history(failed_release(), [read_replica_set(each) for each in raw])

    assert isinstance(found, CannotUndo)
    assert found.why is Why.AMBIGUOUS


def test_the_revision_that_serves_now_is_the_known_good_one() -> None:
    deployment, sets = failed_release(), replica_sets()
    history = history_of(deployment, sets)
    evidence = deployment_evidence(deployment, history, pods())

    chosen = known_good(history, evidence)

    assert not isinstance(chosen, CannotUndo)
    assert (chosen[0].holder, chosen[0].number) == (GOOD, 2)
    assert chosen[1] == ("3 of 3 replicas are available now",)
    assert {(each.holder, each.worth) for each in evidence} == {
        (GOOD, Worth.HEALTHY),
        (BAD, Worth.FAILED),
    }


def test_undoing_twice_does_not_return_to_the_bad_image() -> None:
    deployment = after_undo()
    history = history_of(deployment, replica_sets("14-replicasets-after-undo.json"))
    evidence = deployment_evidence(deployment, history, pods("08-pods-all.json"))

    chosen = known_good(history, evidence)

    assert [each.number for each in history] == [4, 3, 1]
    assert isinstance(chosen, CannotUndo)
    assert chosen.why is Why.NO_EVIDENCE


def test_a_sighting_of_ours_proves_an_older_revision_and_what_failed_stays_out() -> None:
    deployment = after_undo()
    history = history_of(deployment, replica_sets("14-replicasets-after-undo.json"))
    seen = [
        Sighting(FIRST, 3, NOW - timedelta(days=2), "journal"),
        Sighting(BAD, 1, NOW - timedelta(days=3), "journal"),
        Sighting("somebody-elses", 3, NOW, "journal"),
    ]

    evidence = deployment_evidence(deployment, history, pods("08-pods-all.json"), seen)
    chosen = known_good(history, evidence)

    assert not isinstance(chosen, CannotUndo)
    assert chosen[0].holder == FIRST
    assert "2026-11-21" in chosen[1][0]


def test_a_suspect_is_passed_over_even_if_it_is_available() -> None:
    deployment, sets = failed_release(), replica_sets()
    history = history_of(deployment, sets)
    seen = [Sighting(FIRST, 3, NOW, "journal")]
    evidence = deployment_evidence(deployment, history, pods(), seen)

    chosen = known_good(history, evidence, suspects=frozenset({GOOD}))

    assert not isinstance(chosen, CannotUndo)
    assert chosen[0].holder == FIRST


def test_a_restart_is_no_other_release() -> None:
    raw = body("04-replicasets-three-revisions.json")["items"]
    again = changed(
        raw[2],
        metadata__name="rlhf-audit-trail-again",
        metadata__uid="u-4",
        metadata__annotations={"deployment.kubernetes.io/revision": "4"},
        spec__template__metadata__annotations={RESTARTED_AT: "2026-11-23T12:55:00Z"},
    )
    deployment = failed_release(
        metadata__annotations={"deployment.kubernetes.io/revision": "4"},
        spec__template__metadata__annotations={RESTARTED_AT: "2026-11-23T12:55:00Z"},
        status__conditions=[],
    )
    history = history_of(deployment, [read_replica_set(each) for each in [*raw, again]])
    seen = [Sighting(BAD, 3, NOW, "journal")]

    chosen = known_good(history, deployment_evidence(deployment, history, (), seen))

    assert not isinstance(chosen, CannotUndo)
    assert chosen[0].holder == GOOD


def test_what_is_available_now_can_be_kept_as_a_sighting() -> None:
    history = history_of(failed_release(), replica_sets())
    assert sightings_of(history, NOW, "triage") == [Sighting(GOOD, 3, NOW, "triage")]


def test_the_undo_patch_is_kubectls_with_a_guard() -> None:
    deployment, sets = failed_release(), replica_sets()
    target = history_of(deployment, sets)[1]

    decided = undo_deployment(deployment, target, ("seen",))

    assert isinstance(decided, Undo)
    assert isinstance(decided.patch, list)
    version, template, annotations = decided.patch
    assert version == {"op": "replace", "path": "/metadata/resourceVersion", "value": "2456"}
    # What the recorded undo made of the deployment:
    undone = body("13-deployment-after-undo.json")
    assert template["value"] == undone["spec"]["template"]
    after = dict(undone["metadata"]["annotations"])
    after["deployment.kubernetes.io/revision"] = "3"  # the controller counts on by itself
    assert annotations["value"] == after
    assert decided.because == ("seen",)


def test_a_template_that_already_matches_is_nothing_to_do() -> None:
    deployment = after_undo()
    history = history_of(deployment, replica_sets("14-replicasets-after-undo.json"))

    decided = undo_deployment(deployment, history[0])

    assert isinstance(decided, AlreadyThere)
    assert "already matches revision 4: nothing to do" in decided.text


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ({"spec__paused": True}, Why.PAUSED),
        ({"metadata__annotations": {}}, Why.UNKNOWN_REVISION),
        (
            {"metadata__annotations": {"deployment.kubernetes.io/revision": "x"}},
            Why.UNKNOWN_REVISION,
        ),
    ],
)
def test_a_paused_or_unnumbered_deployment_is_not_undone(paths: dict[str, Any], why: Why) -> None:
    deployment = failed_release(**paths)
    decided = undo_deployment(deployment, history_of(failed_release(), replica_sets())[1])
    assert isinstance(decided, CannotUndo)
    assert decided.why is why


def test_without_a_current_revision_nothing_is_known_good() -> None:
    history = history_of(failed_release(), replica_sets()[:2])
    found = known_good(history, deployment_evidence(failed_release(), history))
    assert isinstance(found, CannotUndo)
    assert found.why is Why.UNKNOWN_REVISION


def test_a_template_loses_only_what_controllers_wrote_into_it() -> None:
    content = {
        "$patch": "replace",
        "metadata": {"creationTimestamp": None, "labels": {"app": "x", "pod-template-hash": "1"}},
        "spec": {"containers": []},
    }
    assert without_hash(content) == {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": []},
    }
    assert "pod-template-hash" in content["metadata"]["labels"]  # type: ignore[operator, index]  # JSON


def test_a_stateful_set_returns_to_the_revision_that_was_ready_on_every_pod() -> None:
    it = stateful()
    kept = [
        read_controller_revision(controller_revision_body(number, f"postgres:{number}"))
        for number in (1, 2)
    ]
    history = stateful_set_history(it, kept)
    assert not isinstance(history, CannotUndo)
    chosen = known_good(history, stateful_set_evidence(it, history))
    assert not isinstance(chosen, CannotUndo)

    decided = undo_stateful_set(it, chosen[0], kept, chosen[1])

    assert isinstance(decided, Undo)
    assert decided.revision.images == ("postgres:1",)
    assert decided.patch == {
        "metadata": {"resourceVersion": "70"},
        "spec": {"template": controller_revision_body(1, "postgres:1")["data"]["spec"]["template"]},
    }


def test_a_stateful_sets_revision_that_holds_more_than_a_template_is_refused() -> None:
    it = stateful()
    raw = controller_revision_body(1, "postgres:1")
    raw["data"]["spec"]["replicas"] = 0
    kept = [read_controller_revision(raw)]
    history = stateful_set_history(it, kept)
    assert not isinstance(history, CannotUndo)

    decided = undo_stateful_set(it, history[0], kept)

    assert isinstance(decided, CannotUndo)


def test_a_stateful_set_that_matches_already_is_nothing_to_do() -> None:
    it = stateful()
    kept = [read_controller_revision(controller_revision_body(2, "postgres:2"))]
    history = stateful_set_history(it, kept)
    assert not isinstance(history, CannotUndo)
    assert isinstance(undo_stateful_set(it, history[0], kept), AlreadyThere)
