"""Recorded bodies read into values, and bodies that mean no good."""

from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.json_fields import Fields
from tasks.domain.pod_reading import (
    read_event,
    read_node,
    read_node_usage,
    read_pod,
    read_pod_usage,
)
from tasks.domain.pods import Stage
from tasks.domain.selectors import read_selector
from tasks.domain.workload_reading import (
    read_controller_revision,
    read_deployment,
    read_hpa,
    read_pdb,
    read_quota,
    read_replica_set,
    read_scale,
    read_stateful_set,
)
from tests.domain.cluster_values import (
    body,
    changed,
    controller_revision_body,
    pods,
    replica_sets,
    stateful_body,
)


def test_a_deployment_is_read_with_what_a_rollout_needs() -> None:
    found = read_deployment(body("03-deployment-deadline-exceeded.json"))

    assert (found.name, found.revision, found.generation) == ("rlhf-audit-trail", 3, 5)
    assert (found.replicas, found.current, found.updated, found.available) == (3, 4, 1, 3)
    assert found.template.images == ("registry.local/missing:9",)
    assert found.template.resources.memory_limit == 64 * 2**20
    assert found.template.containers[0].probes == ("readiness",)
    assert found.selector.query == "app=rlhf-audit-trail"
    progressing = found.condition("Progressing")
    assert progressing is not None
    assert progressing.reason == "ProgressDeadlineExceeded"
    assert progressing.changed_at == datetime(2026, 11, 23, 12, 51, 36, tzinfo=UTC)


def test_a_list_of_recorded_bodies_is_read_whole() -> None:
    assert len(pods("08-pods-all.json")) == 8
    assert [each.revision for each in replica_sets()] == [1, 2, 3]
    after = replica_sets("14-replicasets-after-undo.json")
    assert {each.name: (each.revision, each.revisions) for each in after} == {
        "rlhf-audit-trail-6bd6889ffd": (1, ()),
        "rlhf-audit-trail-bf7d6d4f7": (4, (2,)),
        "rlhf-audit-trail-d67b64c67": (3, ()),
    }


def test_a_pod_whose_image_is_missing_says_so() -> None:
    bad = next(each for each in pods() if each.phase == "Pending")

    assert not bad.ready
    assert (bad.containers[0].stage, bad.containers[0].reason) == (
        Stage.WAITING,
        "ErrImageNeverPull",
    )
    assert bad.controller is not None
    assert bad.controller.kind == "ReplicaSet"
    assert bad.resources.memory_request == 16 * 2**20


def test_a_container_that_was_killed_for_its_memory_is_known_by_its_last_state() -> None:
    pod = body("05-pods-with-image-error.json")["items"][0]
    status = pod["status"]["containerStatuses"][0]
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-23T12:50:00Z"}
    status.update(
        state={"waiting": {"reason": "CrashLoopBackOff"}},
        lastState={"terminated": ended},
        restartCount=7,
        ready=False,
    )

    container = read_pod(pod).containers[0]

    assert container.out_of_memory
    assert (container.restarts, container.reason) == (7, "CrashLoopBackOff")
    assert container.last is not None
    assert container.last.exit_code == 137


def test_a_container_of_which_no_kubelet_has_spoken_is_there_and_unknown() -> None:
    pod = changed(body("05-pods-with-image-error.json")["items"][0], status={"phase": "Pending"})

    containers = read_pod(pod).containers

    assert [(each.name, each.stage, each.ready) for each in containers] == [
        ("api", Stage.UNKNOWN, False)
    ]


def test_init_containers_count_for_a_pod_only_where_they_are_larger_or_stay() -> None:
    def asking(cpu: str, **more: str) -> dict[str, Any]:
        return {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}} | more

    pod = body("05-pods-with-image-error.json")["items"][0]
    pod["spec"]["containers"] = [asking("100m"), asking("200m")]
    pod["spec"]["initContainers"] = [asking("250m"), asking("50m", restartPolicy="Always")]
    assert read_pod(pod).resources.cpu_request == 350_000_000
    pod["spec"]["initContainers"] = [asking("2")]
    assert read_pod(pod).resources.cpu_request == 2 * 10**9


def test_events_of_old_and_new_reporters_have_their_times() -> None:
    events = [read_event(each) for each in body("06-events.json")["items"]]

    assert all(each.last_at is not None and each.count >= 1 for each in events)
    scheduled = next(each for each in events if each.reason == "Scheduled")
    assert scheduled.last_at == datetime(2026, 11, 23, 12, 51, 12, 470373, tzinfo=UTC)
    assert {each.reason for each in events if each.warning} >= {"ErrImageNeverPull", "Unhealthy"}


def test_metrics_are_in_nanocores_and_bytes() -> None:
    usage = {
        each.name: each.containers
        for each in map(read_pod_usage, body("09-pod-metrics.json")["items"])
    }
    assert usage["postgres-pod"]["postgres"].cpu == 24_185_965
    assert usage["postgres-pod"]["postgres"].memory == 33_204 * 1024
    (node,) = map(read_node_usage, body("10-node-metrics.json")["items"])
    assert (node.name, node.usage.memory) == ("node-1", 3_165_460 * 1024)


def test_scale_quota_autoscaler_budget_and_node_are_read() -> None:
    assert read_scale(body("11-scale.json")).replicas == 3
    quota = read_quota(
        {"metadata": {"name": "q"}, "status": {"hard": {"pods": "9"}, "used": {"pods": "4"}}}
    )
    assert (quota.hard["pods"], quota.used["pods"]) == (9, 4)
    hpa = read_hpa(
        {
            "metadata": {"name": "h", "resourceVersion": "5"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "api"}, "maxReplicas": 9},
        }
    )
    assert (hpa.minimum, hpa.maximum, hpa.target_name) == (1, 9, "api")
    pdb = read_pdb(
        {
            "metadata": {"name": "b", "generation": 2},
            "spec": {"selector": {"matchLabels": {"app": "api"}}},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 1},
        }
    )
    assert not pdb.current
    node = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "pods": "110"}}}
    assert not read_node(node).takes_pods
    node["status"]["conditions"] = [{"type": "Ready", "status": "True"}]  # type: ignore[index]  # JSON
    assert read_node(node).takes_pods
    assert not read_node(node | {"spec": {"taints": [{"effect": "NoExecute"}]}}).takes_pods


def test_a_template_and_annotations_are_kept_exactly_as_they_came() -> None:
    raw = body("03-deployment-deadline-exceeded.json")
    found = read_deployment(raw)
    assert found.template.content == raw["spec"]["template"]
    assert found.annotations == raw["metadata"]["annotations"]


def test_what_is_shown_is_printable_and_bounded_and_what_decides_is_refused() -> None:
    raw = body("03-deployment-deadline-exceeded.json")
    evil = "\x1b[2Jrelease\u202e" + "x" * 5000
    found = read_deployment(
        changed(raw, metadata__annotations={"kubernetes.io/change-cause": evil})
    )
    assert found.change_cause.startswith("\ufffd[2Jrelease\ufffd")
    assert len(found.change_cause) == 200
    with pytest.raises(BadInput, match=r"deployment.metadata.name"):
        read_deployment(changed(raw, metadata__name="a\nb"))


@pytest.mark.parametrize(
    "paths",
    [
        {"metadata__generation": -1},
        {"metadata__generation": True},
        {"metadata__generation": "5"},
        {"metadata__generation": 2**70},
        {"spec__replicas": 3.5},
        {"spec__paused": "no"},
        {"spec__template": []},
        {"spec__template__spec__containers": {}},
        {"spec__template__spec__containers": [{}] * 65},
        {"status__conditions": "Available"},
        {"metadata__annotations": {"a": 1}},
        {"metadata__creationTimestamp": "yesterday"},
        {"metadata__creationTimestamp": "2026-11-23T12:51:12"},
        {"spec__selector": {"matchLabels": {"app": "a,b!=c"}}},
        {"spec__selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
    ],
    ids=str,
)
def test_a_field_of_another_type_is_named_and_not_taken_for_nothing(paths: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="deployment"):
        read_deployment(changed(body("03-deployment-deadline-exceeded.json"), **paths))


READERS = [
    (read_deployment, body("03-deployment-deadline-exceeded.json")),
    (read_replica_set, body("04-replicasets-three-revisions.json")["items"][1]),
    (read_pod, body("05-pods-with-image-error.json")["items"][-1]),
    (read_event, body("06-events.json")["items"][1]),
    (read_pod_usage, body("09-pod-metrics.json")["items"][0]),
    (read_stateful_set, stateful_body()),
    (read_controller_revision, controller_revision_body(1, "postgres:1")),
]
NONSENSE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.just([]), st.just({}),
    st.just([None]), st.just({"a": {}}), st.floats(),
)  # fmt: skip


@pytest.mark.parametrize(("reader", "value"), READERS, ids=lambda it: getattr(it, "__name__", ""))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nonsense_anywhere_in_a_body_is_read_or_refused_and_never_breaks(
    reader: Any, value: Any, data: st.DataObject
) -> None:
    mutated = deepcopy(value)
    place = mutated
    for _ in range(data.draw(st.integers(0, 5))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        inner = [key for key in keys if isinstance(place[key], dict | list) and place[key]]
        if not inner:
            break
        place = place[data.draw(st.sampled_from(inner))]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    place[data.draw(st.sampled_from(keys))] = data.draw(NONSENSE)
    with suppress(BadInput):
        reader(mutated)


def test_a_selector_is_written_and_matched_as_the_api_means_it() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "app", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["z"]},
    ]
    spec = {"selector": {"matchLabels": {"app": "x"}, "matchExpressions": expressions}}
    found = read_selector(Fields("spec", spec))

    assert found.query == "app=x,tier in (a,b),!old,app,zone notin (z)"
    assert found.matches({"app": "x", "tier": "a"})
    assert not found.matches({"app": "x", "tier": "a", "old": ""})
    assert not found.matches({"app": "x", "tier": "a", "zone": "z"})
    assert not found.matches({"app": "x"})
