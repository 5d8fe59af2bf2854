"""The simulated API server's manners: conflicts, dry runs, pages, selectors, patches, rights."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import BUSYBOX, HEALTHY
from deployments.lab.kubernetes.misbehaviour import Trouble
from deployments.lab.kubernetes.rbac import Account, Rule, accounts_of
from tests.lab.kubernetes.conftest import Ask, client_of

HERE = "namespaces/rlhf-audit-trail"
PODS = f"/api/v1/{HERE}/pods"
DEPLOYMENTS = f"/apis/apps/v1/{HERE}/deployments"
NAME = "rlhf-audit-trail"
API = f"{DEPLOYMENTS}/{NAME}"
JSON = {"Content-Type": "application/json-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}


@pytest.fixture(scope="module")
def quiet() -> Iterator[tuple[Cluster, httpx.Client]]:
    """A cluster that the tests only read."""
    with simulated_cluster(releases=HEALTHY[:1]) as cluster, client_of(cluster) as reader:
        yield cluster, reader


def said(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["reason"], body["message"]


def names(answer: httpx.Response) -> list[str]:
    return [each["metadata"]["name"] for each in answer.json()["items"]]


# Conflicts


def test_an_update_of_an_older_version_is_a_conflict_and_one_without_a_version_wins(
    cluster: Cluster, admin: httpx.Client
) -> None:
    old = admin.get(API).json()
    cluster.change("deployments", NAME, {"spec": {"replicas": 2}})
    mine = {**old, "spec": {**old["spec"], "replicas": 5}}

    refused = admin.put(API, json=mine)
    del mine["metadata"]["resourceVersion"]
    written = admin.put(API, json=mine)

    assert said(refused)[:2] == (409, "Conflict")
    assert written.status_code == 200
    assert cluster.get("deployments", NAME)["spec"]["replicas"] == 5


def test_a_json_patch_that_tests_is_vague_and_one_that_names_the_version_is_clear(
    admin: httpx.Client,
) -> None:
    test = [{"op": "test", "path": "/spec/paused", "value": True}]
    version = [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}]

    vague = admin.patch(API, content=json.dumps(test), headers=JSON)
    clear = admin.patch(API, content=json.dumps(version), headers=JSON)

    assert said(vague)[:2] == (422, "Invalid")
    assert "paused" not in vague.text
    assert said(clear)[:2] == (409, "Conflict")


def test_a_scale_of_another_version_is_a_conflict(admin: httpx.Client) -> None:
    patch = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 5}}

    assert said(admin.patch(f"{API}/scale", json=patch, headers=MERGE))[:2] == (409, "Conflict")


def test_a_pod_is_deleted_only_as_the_one_that_was_meant(
    cluster: Cluster, admin: httpx.Client
) -> None:
    body = {"preconditions": {"uid": "another"}}

    answer = admin.request("DELETE", f"{PODS}/redis-pod", json=body)

    assert said(answer)[:2] == (409, "Conflict")
    assert "Precondition failed: UID in precondition: another" in answer.json()["message"]
    assert cluster.pods("redis-pod")


def test_nothing_changed_is_no_new_version(cluster: Cluster, admin: httpx.Client) -> None:
    before = cluster.get("deployments", NAME)["metadata"]

    admin.patch(API, json={"spec": {"replicas": 3}}, headers=MERGE).raise_for_status()

    assert cluster.get("deployments", NAME)["metadata"] == before


# Dry runs


def test_a_dry_run_answers_as_the_real_one_would_and_keeps_nothing(
    cluster: Cluster, admin: httpx.Client
) -> None:
    before = cluster.store.version
    dry = {"dryRun": "All"}
    policy = {"metadata": {"name": "isolate"}, "spec": {"podSelector": {}}}

    patched = admin.patch(API, params=dry, json={"spec": {"replicas": 7}}, headers=MERGE)
    scaled = admin.patch(f"{API}/scale", params=dry, json={"spec": {"replicas": 7}}, headers=MERGE)
    made = admin.post(f"/apis/networking.k8s.io/v1/{HERE}/networkpolicies", params=dry, json=policy)
    deleted = admin.delete(f"{PODS}/redis-pod", params=dry)

    assert patched.json()["spec"]["replicas"] == scaled.json()["spec"]["replicas"] == 7
    assert (made.status_code, deleted.status_code) == (201, 200)
    assert cluster.store.version == before
    assert admin.patch(API, params={"dryRun": "Some"}, json={}, headers=MERGE).status_code == 400


def test_a_dry_run_is_refused_as_the_real_one_would_be(admin: httpx.Client) -> None:
    answer = admin.patch(
        API, params={"dryRun": "All"}, json={"spec": {"replicas": -1}}, headers=MERGE
    )

    assert said(answer)[:2] == (422, "Invalid")


# Lists


def test_pages_show_one_moment_whatever_happens_between_them(
    cluster: Cluster, admin: httpx.Client
) -> None:
    expected = names(admin.get(PODS))
    first = admin.get(PODS, params={"limit": 3})
    cluster.change("deployments", NAME, {"spec": {"replicas": 0}})
    cluster.advance(10)

    found = names(first)
    token = first.json()["metadata"]["continue"]
    while token:
        page = admin.get(PODS, params={"limit": 3, "continue": token})
        found += names(page)
        token = page.json()["metadata"].get("continue")

    assert found == expected
    assert len(names(admin.get(PODS))) == len(expected) - 3


def test_a_page_of_a_forgotten_moment_is_gone(cluster: Cluster, admin: httpx.Client) -> None:
    token = admin.get(PODS, params={"limit": 3}).json()["metadata"]["continue"]
    cluster.change("deployments", NAME, {"spec": {"replicas": 2}})
    cluster.compact()

    answer = admin.get(PODS, params={"limit": 3, "continue": token})

    assert said(answer)[:2] == (410, "Expired")
    assert said(admin.get(PODS, params={"continue": "!"}))[:2] == (400, "BadRequest")


@pytest.mark.parametrize(
    ("labels", "fields", "count"),
    [
        ("app=rlhf-audit-trail", "", 3),
        ("app==rlhf-audit-trail,component=api", "", 3),
        ("app!=rlhf-audit-trail", "", 4),
        ("app in (postgres, redis)", "", 2),
        ("app notin (postgres,redis),component", "", 5),
        ("!component", "", 2),
        ("", "status.phase=Running", 7),
        ("", "status.phase!=Running", 0),
        ("", "metadata.name=redis-pod", 1),
        ("app=redis", "spec.nodeName=node-1", 1),
        ("app=none", "", 0),
    ],
)
def test_selectors_choose(
    quiet: tuple[Cluster, httpx.Client], labels: str, fields: str, count: int
) -> None:
    _, reader = quiet

    answer = reader.get(PODS, params={"labelSelector": labels, "fieldSelector": fields})

    assert len(names(answer)) == count


@pytest.mark.parametrize(
    ("parameter", "text"), [("labelSelector", "a in b"), ("fieldSelector", "spec.image=x")]
)
def test_a_selector_that_is_none_is_refused(
    quiet: tuple[Cluster, httpx.Client], parameter: str, text: str
) -> None:
    _, reader = quiet

    for watch in ("false", "true"):
        answer = reader.get(PODS, params={parameter: text, "watch": watch})
        assert said(answer)[:2] == (400, "BadRequest")


def test_events_are_found_by_what_they_are_about(quiet: tuple[Cluster, httpx.Client]) -> None:
    cluster, reader = quiet
    cluster.not_ready("redis-pod")
    fields = "involvedObject.name=redis-pod,type=Warning"

    answer = reader.get(f"/api/v1/{HERE}/events", params={"fieldSelector": fields})

    assert [each["reason"] for each in answer.json()["items"]] == ["Unhealthy"]
    cluster.recover("redis-pod")


@pytest.mark.parametrize(
    "path",
    ["/apis/none/v1/pods", "/api/v1/namespaces/x/none", "/", "/api/v2/pods", "/apis/apps/v1"],
)
def test_a_path_that_is_not_served_is_plain_text(
    quiet: tuple[Cluster, httpx.Client], path: str
) -> None:
    _, reader = quiet

    answer = reader.get(path)

    assert (answer.status_code, answer.text) == (404, "404 page not found\n")


# Patches


def test_a_strategic_patch_changes_one_container_and_leaves_the_others(
    admin: httpx.Client,
) -> None:
    def patch(**container: Any) -> list[Any]:
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        answer = admin.patch(API, json=body, headers=STRATEGIC)
        found: list[Any] = answer.json()["spec"]["template"]["spec"]["containers"]
        return found

    added = patch(name="sidecar", image=BUSYBOX, env=[{"name": "A", "value": "1"}])
    assert [each["name"] for each in added] == ["api", "sidecar"]
    changed = patch(name="sidecar", env=[{"name": "B", "value": "2"}])
    assert {each["name"] for each in changed[1]["env"]} == {"A", "B"}
    removed = patch(**{"name": "sidecar", "$patch": "delete"})
    assert [each["name"] for each in removed] == ["api"]


def test_a_merge_patch_replaces_lists_and_null_takes_away(
    admin: httpx.Client,
) -> None:
    container = {"name": "other", "image": BUSYBOX}
    body = {
        "metadata": {"annotations": {"kubernetes.io/change-cause": None}},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }

    found = admin.patch(API, json=body, headers=MERGE).json()

    assert "kubernetes.io/change-cause" not in found["metadata"]["annotations"]
    assert [each["name"] for each in found["spec"]["template"]["spec"]["containers"]] == ["other"]


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "replace", "path": "/spec/none", "value": 1}],
        [{"op": "remove", "path": "/spec/template/spec/containers/7"}],
        [{"op": "add", "path": "/spec/template/spec/containers/x", "value": {}}],
        [{"op": "none", "path": "/spec/replicas"}],
        [{"path": "/spec/replicas"}],
        ["x"],
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(
    quiet: tuple[Cluster, httpx.Client], patch: Any
) -> None:
    _, reader = quiet

    answer = reader.patch(API, content=json.dumps(patch), headers=JSON)

    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("patch", "field", "why"),
    [
        ({"replicas": -1}, "spec.replicas", "must be greater than or equal to 0"),
        ({"selector": {"matchLabels": {"app": "x"}}}, "spec.selector", "field is immutable"),
        (
            {"template": {"metadata": {"labels": {"app": "x"}}}},
            "spec.template.metadata.labels",
            "`selector` does not match template `labels`",
        ),
        (
            {"template": {"spec": {"containers": []}}},
            "spec.template.spec.containers",
            "Required value",
        ),
    ],
)
def test_what_is_not_valid_names_its_field(
    quiet: tuple[Cluster, httpx.Client], patch: Any, field: str, why: str
) -> None:
    _, reader = quiet

    answer = reader.patch(API, json={"spec": patch}, headers=MERGE)

    code, reason, message = said(answer)
    assert (code, reason) == (422, "Invalid")
    assert why in message
    assert answer.json()["details"]["causes"][0]["field"] == field


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        ("{", "application/merge-patch+json", 400),
        ("[]", "application/merge-patch+json", 400),
        ('{"spec": {"replicas": "five"}}', "application/merge-patch+json", 400),
        ('{"metadata": {"name": "x"}}', "application/merge-patch+json", 400),
        ("{}", "text/plain", 415),
        ("[" * 100_000, "application/json-patch+json", 400),
    ],
)
def test_what_cannot_be_read_is_refused(
    quiet: tuple[Cluster, httpx.Client], content: str, content_type: str, code: int
) -> None:
    _, reader = quiet

    answer = reader.patch(API, content=content, headers={"Content-Type": content_type})

    assert answer.status_code == code


def test_an_apply_of_what_another_wrote_is_a_conflict_unless_forced(
    cluster: Cluster, admin: httpx.Client
) -> None:
    path = f"/apis/networking.k8s.io/v1/{HERE}/networkpolicies/isolate"
    text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: isolate}\n"
    mine = f"{text}spec: {{podSelector: {{}}, policyTypes: [Ingress]}}\n"
    yours = f"{text}spec: {{podSelector: {{}}, policyTypes: [Egress]}}\n"

    def apply(content: str, **parameters: str) -> httpx.Response:
        return admin.patch(path, params=parameters, content=content, headers=APPLY)

    assert apply(mine).status_code == 422
    assert apply(mine, fieldManager="me").status_code == 200
    again = apply(mine, fieldManager="me")
    refused = apply(yours, fieldManager="you")
    assert again.json()["metadata"]["generation"] == 1
    assert said(refused)[:2] == (409, "Conflict")
    cause = refused.json()["details"]["causes"][0]
    assert (cause["field"], cause["reason"]) == (".spec.policyTypes", "FieldManagerConflict")
    assert apply(yours, fieldManager="you", force="true").status_code == 200
    assert cluster.get("networkpolicies", "isolate")["spec"]["policyTypes"] == ["Egress"]
    entries = cluster.get("networkpolicies", "isolate")["metadata"]["managedFields"]
    owners = {
        each["manager"] for each in entries if "f:policyTypes" in each["fieldsV1"].get("f:spec", {})
    }
    assert owners == {"you"}


def test_a_namespace_is_made_and_removed_with_all_that_is_in_it(admin: httpx.Client) -> None:
    pod = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "a", "image": BUSYBOX}]}}
    path = "/api/v1/namespaces/probe"

    before = admin.post(f"{path}/pods", json=pod)
    admin.post("/api/v1/namespaces", json={"metadata": {"name": "probe"}}).raise_for_status()
    admin.post(f"{path}/pods", json=pod).raise_for_status()
    admin.delete(path).raise_for_status()

    assert said(before)[:2] == (404, "NotFound")
    assert names(admin.get(f"{path}/pods")) == []
    assert admin.get(path).status_code == 404


# Rights


def test_what_is_forbidden_is_said_as_the_real_server_says_it(ask: Ask) -> None:
    diagnose = ask("diagnose")
    user = "system:serviceaccount:rlhf-audit-trail:runbook-diagnose"

    scale = diagnose.patch(f"{API}/scale", json={"spec": {"replicas": 9}}, headers=MERGE)
    nodes = diagnose.delete("/api/v1/nodes/node-1")

    text = (
        f'deployments.apps "{NAME}" is forbidden: User "{user}" cannot patch resource '
        '"deployments/scale" in API group "apps" in the namespace "rlhf-audit-trail"'
    )
    assert said(scale) == (
        403,
        "Forbidden",
        text,
    )
    assert scale.json()["details"] == {"name": NAME, "group": "apps", "kind": "deployments"}
    text = f'User "{user}" cannot delete resource "nodes" in API group "" at the cluster scope'
    assert said(nodes)[2] == f'nodes "node-1" is forbidden: {text}'


def test_the_two_identities_may_do_what_the_shipped_roles_grant(cluster: Cluster, ask: Ask) -> None:
    diagnose, remediate = ask("diagnose"), ask("remediate")
    patch = {"spec": {"replicas": 4}}

    assert diagnose.get(PODS).status_code == 200
    assert remediate.get(PODS).status_code == 403
    assert remediate.patch(f"{API}/scale", json=patch, headers=MERGE).status_code == 200
    cluster.add_deployment("somebody-elses")
    other = f"{DEPLOYMENTS}/somebody-elses/scale"
    assert remediate.patch(other, json=patch, headers=MERGE).status_code == 403


def test_a_token_that_is_unknown_and_none_at_all_are_told_apart(
    quiet: tuple[Cluster, httpx.Client],
) -> None:
    cluster, _ = quiet
    trust = ssl.create_default_context(cafile=str(cluster.authority))
    with httpx.Client(base_url=cluster.url, verify=trust) as anybody:
        unknown = anybody.get(PODS, headers={"Authorization": "Bearer guessed"})
        nobody = anybody.get(PODS)
        health = anybody.get("/readyz")

    assert said(unknown) == (401, "Unauthorized", "Unauthorized")
    assert nobody.status_code == 403
    assert 'User "system:anonymous" cannot list resource "pods"' in said(nobody)[2]
    assert health.text == "ok"


def test_a_right_to_one_name_counts_for_lists_of_that_name(cluster: Cluster, ask: Ask) -> None:
    rule = Rule(("list",), ("",), ("pods",), ("redis-pod",), "rlhf-audit-trail")
    cluster.grant("diagnose", Account("someone", (rule,)))
    diagnose = ask("diagnose")

    one = diagnose.get(PODS, params={"fieldSelector": "metadata.name=redis-pod"})

    assert names(one) == ["redis-pod"]
    assert diagnose.get(PODS).status_code == 403


def test_an_identity_can_ask_what_it_may_do(ask: Ask) -> None:
    def may(identity: str, **attributes: str) -> bool:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        spec = {"resourceAttributes": {"namespace": "rlhf-audit-trail", **attributes}}
        answer = ask(identity).post(path, json={"spec": spec})
        assert answer.status_code == 201
        return bool(answer.json()["status"]["allowed"])

    scale = {"group": "apps", "resource": "deployments", "subresource": "scale", "name": NAME}
    assert may("remediate", verb="patch", **scale)
    assert not may("diagnose", verb="patch", **scale)
    assert may("diagnose", verb="list", resource="pods")


def test_a_binding_to_a_role_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "roles.yaml"
    file.write_text(
        "kind: RoleBinding\nmetadata: {name: a, namespace: b}\n"
        "roleRef: {kind: Role, name: none}\nsubjects: [{kind: ServiceAccount, name: c}]\n"
    )

    with pytest.raises(KeyError):
        accounts_of(file)


# Troubles


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (Trouble.HANGS, httpx.ReadTimeout),
        (Trouble.HALF, httpx.RemoteProtocolError),
        (Trouble.CLOSES, httpx.RemoteProtocolError),
    ],
)
def test_a_server_can_stay_away_or_break_off(
    cluster: Cluster, admin: httpx.Client, trouble: Trouble, error: type[Exception]
) -> None:
    cluster.misbehave(trouble, "GET /api/v1", times=1)

    with pytest.raises(error):
        admin.get(PODS, timeout=0.3)

    assert admin.get(PODS).status_code == 200


def test_a_server_can_answer_what_is_no_answer(cluster: Cluster, admin: httpx.Client) -> None:
    cluster.misbehave(Trouble.HTML, "pods", times=1)
    page = admin.get(PODS)
    cluster.misbehave(Trouble.GARBAGE, "pods", times=1)
    garbage = admin.get(PODS)
    cluster.misbehave(Trouble.FAILS, "pods", code=500)
    failed = [admin.get(PODS).status_code for _ in range(3)]
    elsewhere = admin.get(DEPLOYMENTS)
    cluster.recover_api()

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html")
    with pytest.raises(ValueError, match="utf-8"):
        garbage.json()
    assert failed == [500, 500, 500]
    assert elsewhere.status_code == 200
    assert admin.get(PODS).status_code == 200


def test_a_server_can_be_slow_and_answer_without_end(cluster: Cluster, admin: httpx.Client) -> None:
    cluster.misbehave(Trouble.SLOW, "pods", seconds=0.3, times=1)
    assert admin.get(PODS).elapsed.total_seconds() >= 0.3

    cluster.misbehave(Trouble.ENDLESS, "pods", times=1)
    size = 0
    with admin.stream("GET", PODS) as answer:
        for piece in answer.iter_raw():
            size += len(piece)
            if size > 5_000_000:
                break
    assert size > 5_000_000


def test_who_speaks_no_tls_or_trusts_somebody_else_gets_nothing(
    quiet: tuple[Cluster, httpx.Client],
) -> None:
    cluster, reader = quiet
    with httpx.Client() as stranger:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.get(cluster.url)
        with pytest.raises(httpx.HTTPError):
            stranger.get(cluster.url.replace("https", "http"))

    assert reader.get("/livez").text == "ok"


# The official client


@pytest.fixture
def official(cluster: Cluster) -> Iterator[client.ApiClient]:
    found = client.Configuration()
    config.load_kube_config(
        str(cluster.config_file), "admin", client_configuration=found, persist_config=False
    )
    with client.ApiClient(found) as connection:
        yield connection


def test_the_official_client_reads_and_writes(cluster: Cluster, official: client.ApiClient) -> None:
    apps, core = client.AppsV1Api(official), client.CoreV1Api(official)

    pods = core.list_namespaced_pod("rlhf-audit-trail", label_selector="app=rlhf-audit-trail")
    scale = {"spec": {"replicas": 5}}
    tried = apps.patch_namespaced_deployment_scale(NAME, NAME, scale, dry_run="All")
    before = apps.read_namespaced_deployment(NAME, NAME)
    apps.patch_namespaced_deployment_scale(NAME, NAME, scale)
    cluster.advance(10)
    after = apps.read_namespaced_deployment(NAME, NAME)

    assert {each.status.phase for each in pods.items} == {"Running"}
    assert (tried.spec.replicas, before.spec.replicas) == (5, 3)
    assert after.status.available_replicas == 5
    assert "api started" in core.read_namespaced_pod_log(pods.items[0].metadata.name, NAME)
    events = core.list_namespaced_event(NAME).items
    assert "ScalingReplicaSet" in {each.reason for each in events}
    with pytest.raises(ApiException) as raised:
        apps.read_namespaced_deployment("nope", NAME)
    assert (raised.value.status, json.loads(raised.value.body)["reason"]) == (404, "NotFound")
    assert cluster.asked
