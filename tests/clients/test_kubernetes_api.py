"""The Kubernetes client over recorded answers, and over answers that mean no good."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as kube_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import (
    ClientError,
    Conflict,
    Denied,
    Malformed,
    NotFound,
    Transient,
)
from tasks.clients.kubernetes_api import Api, PatchType
from tasks.clients.kubernetes_identity import Access, Identity
from tasks.clients.kubernetes_refusals import (
    AlreadyThere,
    BudgetSpent,
    Expired,
    Rejected,
    Resource,
    refusal,
)
from tasks.domain.errors import BadInput
from tasks.domain.rollout import Undo, undo_deployment
from tasks.domain.rollout_history import CannotUndo, deployment_history
from tasks.domain.workloads import Deployment, Kind
from tasks.sections.systems import KubernetesSettings
from tests.clients.api_replies import TOKENS, Asked, Replies, Reply, replying, status
from tests.clients.loopback import answering, dripping, sending
from tests.domain.cluster_values import BODIES, body, changed

NAME = "rlhf-audit-trail"
ROOT = f"/apis/apps/v1/namespaces/{NAME}"


@pytest.fixture
def server() -> Iterator[Replies]:
    with replying() as running:
        yield running


@pytest.fixture
def api(server: Replies, tmp_path: Path) -> Api:
    return Api(server.settings(tmp_path))


@pytest.fixture
def mender(server: Replies, tmp_path: Path) -> Api:
    return Api(server.settings(tmp_path), Identity.REMEDIATE)


def at_port(port: int, directory: Path, seconds: float = 5.0) -> Api:
    return Api(Replies(port).settings(directory), seconds=seconds)


def test_what_is_read_is_asked_for_in_our_namespace_with_the_reading_token(
    server: Replies, api: Api
) -> None:
    server.says((200, body("03-deployment-deadline-exceeded.json")))

    found = workloads.deployment(api, NAME)

    assert found.revision == 3
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", f"{ROOT}/deployments/{NAME}")
    assert asked.token == TOKENS["looker"]


def test_replica_sets_are_asked_for_by_the_selector_of_their_deployment(
    server: Replies, api: Api
) -> None:
    server.says(
        (200, body("03-deployment-deadline-exceeded.json")),
        (200, body("04-replicasets-three-revisions.json")),
    )
    sets = workloads.replica_sets(api, workloads.deployment(api, NAME))
    assert [each.revision for each in sets] == [1, 2, 3]
    assert server.asked[1].params["labelSelector"] == f"app={NAME}"


def test_every_recorded_list_is_read(server: Replies, api: Api) -> None:
    server.answer = lambda asked: (200, body(LISTS[asked.path]))
    assert len(workloads.deployments(api)) == 3
    assert len(kube_pods.pods(api)) == 8
    assert len(kube_pods.events(api)) == 80
    assert len(kube_pods.pod_usage(api)) == 7
    assert [each.name for each in kube_pods.node_usage(api)] == ["node-1"]


LISTS = {
    f"{ROOT}/deployments": "01-deployments-healthy.json",
    f"/api/v1/namespaces/{NAME}/pods": "08-pods-all.json",
    f"/api/v1/namespaces/{NAME}/events": "06-events.json",
    f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAME}/pods": "09-pod-metrics.json",
    "/apis/metrics.k8s.io/v1beta1/nodes": "10-node-metrics.json",
}


def paged(asked: Asked) -> Reply:
    items = body("08-pods-all.json")["items"]
    start = int(asked.params.get("continue", "0"))
    metadata = {"resourceVersion": "9"} | ({"continue": str(start + 3)} if start < 6 else {})
    return 200, {"kind": "PodList", "metadata": metadata, "items": items[start : start + 3]}


def test_a_list_is_read_page_by_page(server: Replies, api: Api) -> None:
    server.answer = paged
    assert len(kube_pods.pods(api)) == 8
    assert [each.params.get("continue") for each in server.asked] == [None, "3", "6"]


def test_a_list_whose_place_expired_begins_anew_and_has_nothing_twice(
    server: Replies, api: Api
) -> None:
    expired = iter([True])

    def once(asked: Asked) -> Reply:
        if "continue" in asked.params and next(expired, False):
            return status(410, "Expired", "The provided continue parameter is too old")
        return paged(asked)

    server.answer = once
    names = [each.name for each in kube_pods.pods(api)]
    assert (len(names), len(set(names))) == (8, 8)


def test_a_list_that_expires_always_is_given_up(server: Replies, api: Api) -> None:
    server.answer = lambda asked: (
        status(410, "Expired", "too old") if "continue" in asked.params else paged(asked)
    )
    with pytest.raises(Expired):
        kube_pods.pods(api)
    assert len(server.asked) == 6


def test_a_list_that_goes_round_in_a_circle_is_noticed(server: Replies, api: Api) -> None:
    page = {"kind": "PodList", "metadata": {"continue": "again"}, "items": []}
    server.says((200, page))
    with pytest.raises(Malformed, match="circle"):
        kube_pods.pods(api)


def test_pages_without_end_stop_at_a_bound(server: Replies, api: Api) -> None:
    places = iter(range(10**6))
    items = [{"metadata": {"name": "x"}}] * 3000
    server.answer = lambda _: (
        200,
        {"kind": "PodList", "metadata": {"continue": str(next(places))}, "items": items},
    )
    with pytest.raises(Malformed, match="at most 10000 objects"):
        kube_pods.pods(api)


def test_all_pages_together_have_one_time_limit(server: Replies, tmp_path: Path) -> None:
    places = iter(range(10**6))

    def slowly(_: Asked) -> Reply:
        time.sleep(0.2)
        return 200, {"kind": "PodList", "metadata": {"continue": str(next(places))}, "items": []}

    server.answer = slowly
    began = time.monotonic()
    with pytest.raises(Transient):
        kube_pods.pods(Api(server.settings(tmp_path), seconds=0.7))
    assert time.monotonic() - began < 1.5


RECORDED = {
    "20-invalid-replicas.json": (Rejected, "greater than or equal to 0"),
    "20-jsonpatch-stale-rv.json": (Conflict, "changed since it was read"),
    "20-jsonpatch-test-failed.json": (Rejected, "rejected our request"),
    "20-log-container-missing-pod.json": (NotFound, "there is none"),
    "20-log-no-previous.json": (Rejected, "previous terminated container"),
    "20-metrics-absent-group.json": (NotFound, "API nothere.k8s.io/v1beta1 is not served"),
    "20-networkpolicy-already-exists.json": (AlreadyThere, "exists already"),
    "20-not-found.json": (NotFound, "there is none"),
    "20-stale-resource-version.json": (Conflict, "changed since it was read"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_refusal_is_the_error_that_a_caller_decides_on(name: str) -> None:
    recorded = body(name)
    said = recorded["body"]
    raw = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    resource = Resource("pods", "nothere.k8s.io", "v1beta1")
    kind, text = RECORDED[name]

    error = refusal(recorded["status"], raw, "patch", resource, "remediate")

    assert type(error) is kind
    assert text in str(error)


def test_no_recorded_failure_is_left_out() -> None:
    failed = {
        path.name for path in BODIES.glob("20-*.json") if body(path.name).get("status", 0) >= 400
    }
    assert failed == set(RECORDED)


def test_a_refused_permission_is_named_with_verb_resource_name_and_namespace(
    server: Replies, mender: Api
) -> None:
    server.says(status(403, "Forbidden", 'User "x" cannot patch resource'))
    with pytest.raises(Denied) as caught:
        workloads.set_replicas(mender, Kind.DEPLOYMENT, NAME, 5, "7", dry_run=True)
    assert (
        f"grant the verb patch on deployments/scale of API group apps named {NAME} in namespace "
        f"{NAME} to the remediate identity" in str(caught.value)
    )


def test_a_permission_for_the_whole_cluster_is_named_so(server: Replies, api: Api) -> None:
    server.says(status(403, "Forbidden", "no"))
    with pytest.raises(Denied, match="the verb list on nodes in the whole cluster to the diagnose"):
        bounds.nodes(api)


def test_a_quota_that_forbids_is_no_missing_permission(server: Replies, api: Api) -> None:
    server.says(status(403, "Forbidden", "persistentvolumeclaims is forbidden: exceeded quota: q"))
    with pytest.raises(Rejected, match="quota forbids"):
        bounds.quotas(api)


def test_an_unknown_token_is_denied_and_never_shown(server: Replies, api: Api) -> None:
    server.says(status(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(Denied, match="diagnose identity is not known") as caught:
        bounds.quotas(api)
    assert TOKENS["looker"] not in str(caught.value)


HTML = b"<html><body>502 Bad Gateway</body></html>"
EMPTY = {"kind": "PodList", "items": []}
HOSTILE: dict[str, tuple[Reply, type[ClientError]]] = {
    "html": ((200, HTML), Malformed),
    "html 502": ((502, HTML), Transient),
    "500": (status(500, "InternalError", "etcd"), Transient),
    "429": (status(429, "TooManyRequests", "later"), Transient),
    "redirect": ((302, b""), Malformed),
    "teapot": ((418, b"\x1b[2J"), Malformed),
    "empty": ((200, b""), Malformed),
    "text": ((200, "text"), Malformed),
    "another kind": ((200, {"kind": "SecretList", "items": []}), Malformed),
    "a list of nothing": ((200, {"kind": "PodList", "items": None}), Malformed),
    "a list of texts": ((200, {"kind": "PodList", "items": ["pod"]}), Malformed),
    "an odd place": ((200, EMPTY | {"metadata": {"continue": 1}}), Malformed),
    "an odd pod": ((200, {"kind": "PodList", "items": [{"metadata": []}]}), Malformed),
    "NaN": ((200, b'{"kind": "PodList", "items": [], "x": NaN}'), Malformed),
    "deep": ((200, b"[" * 200_000), Malformed),
    "not UTF-8": ((200, b"\xff\xfe\x00"), Malformed),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "error"), HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_is_not_documented_is_an_error_of_ours(
    server: Replies, api: Api, reply: Reply, error: type[ClientError]
) -> None:
    server.says(reply)
    with pytest.raises(error) as caught:
        kube_pods.pods(api)
    assert type(caught.value) is error
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_half_a_body_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    start = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}"
    with answering(sending(start)) as port, pytest.raises(Transient):
        kube_pods.pods(at_port(port, tmp_path))


def test_half_a_body_without_a_length_is_no_json(tmp_path: Path) -> None:
    half = b'HTTP/1.1 200 OK\r\n\r\n{"kind": "PodLi'
    with answering(sending(half)) as port, pytest.raises(Malformed):
        kube_pods.pods(at_port(port, tmp_path))


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 500 E\r\n\r\n"])
def test_a_body_that_never_ends_ends_at_the_time_limit(start: bytes, tmp_path: Path) -> None:
    with answering(dripping(start, b" ", seconds=0.1, count=50)) as port:
        began = time.monotonic()
        with pytest.raises(Transient):
            kube_pods.pods(at_port(port, tmp_path, seconds=0.6))
        assert time.monotonic() - began < 1.5


def test_a_body_without_measure_is_cut_off(tmp_path: Path) -> None:
    flood = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (17 * 2**20)
    with answering(sending(flood)) as port, pytest.raises(Malformed, match="at most 16777216"):
        kube_pods.pods(at_port(port, tmp_path))


def test_nobody_there_is_transient(tmp_path: Path) -> None:
    with answering(sending(b"")) as port:
        pass
    with pytest.raises(Transient):
        kube_pods.pods(at_port(port, tmp_path))


@pytest.mark.parametrize(
    "name", ["--help", "../nodes", "a/b", "a?x=1", "A", "a\nb", "a" * 254, "."]
)
def test_a_name_that_is_none_never_becomes_a_path(name: str, server: Replies, api: Api) -> None:
    with pytest.raises(BadInput):
        kube_pods.pod(api, name)
    assert server.asked == []


def test_a_scale_is_guarded_and_the_dry_run_says_so(server: Replies, mender: Api) -> None:
    server.says((200, body("20-scale-dry-run.json")["body"]), (200, body("20-scale.json")["body"]))

    tried = workloads.set_replicas(mender, Kind.DEPLOYMENT, NAME, 5, "2471", dry_run=True)
    done = workloads.set_replicas(mender, Kind.DEPLOYMENT, NAME, 4, "2471", dry_run=False)

    assert (tried.replicas, done.replicas, done.current) == (5, 4, 3)
    first, second = server.asked
    assert first.path == f"{ROOT}/deployments/{NAME}/scale"
    assert first.params == {"dryRun": "All", "fieldManager": "runbook"}
    assert second.params == {"fieldManager": "runbook"}
    assert first.token == TOKENS["mender"]
    assert first.content_type == PatchType.MERGE
    assert first.body == {"metadata": {"resourceVersion": "2471"}, "spec": {"replicas": 5}}


def test_a_change_without_a_version_is_never_sent(server: Replies, mender: Api) -> None:
    with pytest.raises(BadInput, match="resourceVersion"):
        workloads.set_replicas(mender, Kind.DEPLOYMENT, NAME, 5, "", dry_run=True)
    with pytest.raises(BadInput, match="resourceVersion"):
        bounds.set_autoscaler_minimum(mender, "api", 4, "", dry_run=True)
    assert server.asked == []


def test_a_restart_writes_the_time_of_the_decision_into_the_template(
    server: Replies, mender: Api
) -> None:
    server.says((200, body("20-restart.json")["body"]))
    at = datetime(2026, 11, 23, 12, 55, tzinfo=UTC)

    found = workloads.restart(mender, Kind.DEPLOYMENT, "celery-workers", at, "9", dry_run=False)

    recorded = body("20-restart.json")["request"]
    (asked,) = server.asked
    assert (asked.path, asked.content_type) == (recorded["path"], recorded["content_type"])
    assert asked.body == recorded["body"] | {"metadata": {"resourceVersion": "9"}}
    assert found.template.restarted_at == "2026-11-23T12:55:00Z"


def test_an_undo_is_sent_as_it_was_decided(server: Replies, mender: Api) -> None:
    server.says(
        (200, body("03-deployment-deadline-exceeded.json")),
        (200, body("04-replicasets-three-revisions.json")),
        (200, body("13-deployment-after-undo.json")),
    )
    deployment = workloads.deployment(mender, NAME)
    history = deployment_history(deployment, workloads.replica_sets(mender, deployment))
    assert not isinstance(history, CannotUndo)
    decided = undo_deployment(deployment, history[1])
    assert isinstance(decided, Undo)

    after = workloads.undo(mender, Kind.DEPLOYMENT, NAME, decided, dry_run=True)

    assert isinstance(after, Deployment)
    assert after.template.images == ("registry.local/busybox:1",)
    asked = server.asked[2]
    assert (asked.method, asked.content_type) == ("PATCH", PatchType.JSON)
    assert asked.params["dryRun"] == "All"
    assert asked.body[0]["value"] == "2456"


def test_an_autoscalers_minimum_is_raised_with_a_guard(server: Replies, mender: Api) -> None:
    answer = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "api", "resourceVersion": "8"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": NAME}, "minReplicas": 5},
    }
    server.says((200, answer))
    found = bounds.set_autoscaler_minimum(mender, "api", 5, "7", dry_run=False)
    assert found.minimum == 5
    assert server.asked[0].path.startswith("/apis/autoscaling/v2/")
    assert server.asked[0].body["metadata"] == {"resourceVersion": "7"}


def test_an_eviction_names_this_very_pod_and_a_budget_may_forbid_it(
    server: Replies, api: Api, mender: Api
) -> None:
    server.says((200, body("08-pods-all.json")))
    victim = kube_pods.pods(api)[-1]
    spent = {"causes": [{"reason": "DisruptionBudget", "message": "needs 3 healthy pods"}]}
    server.says(
        (201, {"kind": "Status", "status": "Success"}),
        status(429, "TooManyRequests", "Cannot evict pod", details=spent),
    )

    kube_pods.evict(mender, victim, dry_run=True)
    with pytest.raises(BudgetSpent):
        kube_pods.evict(mender, victim, dry_run=False)

    asked = server.asked[1]
    assert asked.path == f"/api/v1/namespaces/{NAME}/pods/{victim.name}/eviction"
    assert asked.params["dryRun"] == "All"
    assert asked.body["deleteOptions"]["preconditions"] == {"uid": victim.uid}


def test_logs_are_read_per_container_and_of_the_process_before(server: Replies, api: Api) -> None:
    raw = body("08-pods-all.json")
    crashed = raw["items"][1]["status"]["containerStatuses"][0]
    crashed["lastState"] = {"terminated": {"reason": "Error", "exitCode": 1}}
    server.says((200, raw))
    pods = kube_pods.pods(api)
    lines = (BODIES / "12-pod-log.txt").read_bytes()

    def answer(asked: Asked) -> Reply:
        if asked.params.get("previous"):
            recorded = body("20-log-no-previous.json")
            return recorded["status"], recorded["body"]
        return 200, lines

    server.answer = answer
    found = list(kube_pods.logs(api, pods, lines=100))

    # The pod whose image is missing has no log; the crashed one is asked twice.
    assert len(found) == 8
    assert found[0].text == lines.decode()
    (absent,) = [each for each in found if each.previous]
    assert absent.pod == "postgres-pod"
    assert "previous terminated container" in absent.absent
    assert {each.params["tailLines"] for each in server.asked[1:]} == {"100"}


def test_a_log_that_is_no_utf8_or_longer_than_asked_for(server: Replies, api: Api) -> None:
    server.says((200, b"\xff\xfe broken"), (200, b"x" * (2**20 + 1)))
    assert kube_pods.log(api, "postgres-pod", "postgres", lines=5).text == "\ufffd\ufffd broken"
    with pytest.raises(Malformed):
        kube_pods.log(api, "postgres-pod", "postgres", lines=5)


def test_what_cannot_be_read_of_the_surroundings_is_told_and_no_error(
    server: Replies, api: Api
) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/nodes"):
            return status(403, "Forbidden", "no")
        kinds = {
            "resourcequotas": "ResourceQuotaList",
            "pods": "PodList",
            "horizontalpodautoscalers": "HorizontalPodAutoscalerList",
            "poddisruptionbudgets": "PodDisruptionBudgetList",
        }
        return 200, {"kind": kinds[asked.path.split("/")[-1]], "items": []}

    server.answer = answer
    found = bounds.surroundings(api)
    assert (found.quotas, found.nodes, found.hpas, found.pods) == ([], None, [], [])
    assert len(found.unread) == 1
    assert "the verb list on nodes" in found.unread[0]


def test_without_an_identity_for_changes_there_is_none(server: Replies, tmp_path: Path) -> None:
    settings = server.settings(tmp_path, remediate_context="")
    with pytest.raises(BadInput, match="REMEDIATE_CONTEXT"):
        Api(settings, Identity.REMEDIATE)
    Api(settings)  # looking needs no such identity


def test_a_context_that_is_not_there_is_named(server: Replies, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        Access(server.settings(tmp_path, context="nowhere"))


def test_in_a_cluster_each_identity_has_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    with pytest.raises(BadInput, match="REMEDIATE_TOKEN_FILE"):
        Access(KubernetesSettings(), Identity.REMEDIATE)
    missing = KubernetesSettings(remediate_token_file=tmp_path / "none")
    with pytest.raises(BadInput, match="token file does not exist"):
        Access(missing, Identity.REMEDIATE)


def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(tmp_path: Path) -> None:
    settings = Replies(1).settings(tmp_path)
    assert settings.config_file is not None
    text = settings.config_file.read_text(encoding="utf-8")
    config = re.sub(TOKENS["looker"], "secret\\\\u00e4token", text)
    settings.config_file.write_text(config, encoding="utf-8")
    with pytest.raises(BadInput, match="visible ASCII") as caught:
        kube_pods.pods(Api(settings))
    assert "secret" not in str(caught.value)


def test_a_server_with_another_certificate_gets_no_token(tmp_path: Path) -> None:
    with replying(tls=tmp_path) as server:
        server.says((200, {"kind": "PodList", "items": []}))
        with pytest.raises(Malformed, match="no trusted TLS"):
            kube_pods.pods(Api(server.settings(tmp_path, trusted=False)))
        assert server.asked == []
        assert kube_pods.pods(Api(server.settings(tmp_path))) == []
        assert server.asked[0].token == TOKENS["looker"]


def test_a_deployment_of_another_kind_is_not_read(server: Replies, api: Api) -> None:
    raw = changed(body("03-deployment-deadline-exceeded.json"), kind="StatefulSet")
    server.says((200, raw))
    with pytest.raises(Malformed, match="expected Deployment"):
        workloads.deployment(api, NAME)
