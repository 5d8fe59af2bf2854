"""The roles grant what the client asks for: nothing is missing and nothing is left over."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_evidence
from tasks.clients import kubernetes_pods as pods
from tasks.clients import kubernetes_policies as policies
from tasks.clients import kubernetes_storage as storage
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_configuration import configuration
from tasks.clients.kubernetes_identity import Identity
from tasks.clients.kubernetes_watch import deployment_changes
from tasks.domain.isolation import POLICY_NAME, network_policy
from tasks.domain.rollout import Undo, undo_deployment
from tasks.domain.rollout_history import CannotUndo, deployment_history
from tasks.domain.workloads import Kind
from tests.clients.api_replies import Asked, Replies, Reply, replying
from tests.domain.cluster_values import NOW, failed_release, replica_sets, stateful
from tests.domain.cluster_values import pods as recorded_pods

MANIFESTS = Path(__file__).parents[2] / "deployments" / "kubernetes"
REST = [each for each in kubernetes_evidence.LISTINGS if each.plural == "networkpolicies"]
DEPLOYMENT, STATEFUL_SET = "rlhf-audit-trail", "postgresql"


@dataclass(frozen=True)
class Grant:
    """A verb on a resource; `cluster`: in all namespaces, or of no namespace."""

    verb: str
    group: str
    resource: str
    cluster: bool = False


def undo() -> Undo:
    history = deployment_history(failed_release(), replica_sets())
    assert not isinstance(history, CannotUndo)
    decided = undo_deployment(failed_release(), history[1])
    assert isinstance(decided, Undo)
    return decided


LOOKS: dict[str, Callable[[Api], Any]] = {
    "deployments": workloads.deployments,
    "deployment": lambda api: workloads.deployment(api, DEPLOYMENT),
    "stateful sets": workloads.stateful_sets,
    "stateful set": lambda api: workloads.stateful_set(api, STATEFUL_SET),
    "replica sets": lambda api: workloads.replica_sets(api, failed_release()),
    "controller revisions": lambda api: workloads.controller_revisions(api, stateful()),
    "scale": lambda api: workloads.scale(api, Kind.DEPLOYMENT, DEPLOYMENT),
    "scale of a stateful set": lambda api: workloads.scale(api, Kind.STATEFUL_SET, STATEFUL_SET),
    "watch": lambda api: list(deployment_changes(api, DEPLOYMENT, seconds=10)),
    "pods": pods.pods,
    "pods everywhere": pods.pods_everywhere,
    "pod": lambda api: pods.pod(api, "postgres-pod"),
    "log": lambda api: pods.log(api, "postgres-pod", "postgres", lines=1),
    "events": pods.events,
    "network policy": lambda api: policies.policy(api, POLICY_NAME),
    "evidence": lambda api: [kubernetes_evidence.objects(api, each) for each in REST],
    "pod usage": pods.pod_usage,
    "node usage": pods.node_usage,
    "autoscalers": bounds.hpas,
    "budgets": bounds.pdbs,
    "quotas": bounds.quotas,
    "nodes": bounds.nodes,
    "claims": storage.claims,
    "storage class": lambda api: storage.storage_class(api, "fast"),
    "configuration": lambda api: configuration(api, {"spec": CONFIGURED}),
}
CONFIGURED = {"containers": [{"envFrom": [{"configMapRef": {"name": "rlhf-audit-trail-config"}}]}]}
KINDS = {Kind.DEPLOYMENT: DEPLOYMENT, Kind.STATEFUL_SET: STATEFUL_SET}
CHANGES: dict[str, Callable[[Api], Any]] = {
    "undo": lambda api: workloads.undo(api, Kind.DEPLOYMENT, DEPLOYMENT, undo(), dry_run=True),
    "autoscaler": lambda api: bounds.set_autoscaler_minimum(api, DEPLOYMENT, 4, "7", dry_run=True),
    "claim": lambda api: storage.enlarge(api, "data-postgresql-0", 9, "7", dry_run=True),
    "evict": lambda api: pods.evict(api, recorded_pods()[0], dry_run=True),
    "cut off": lambda api: policies.make(
        api, network_policy(api.namespace, {"a": "b"}, {"c": "d"}, "INC-1", NOW), dry_run=True
    ),
    "let back": lambda api: policies.remove(
        api, {"metadata": {"name": POLICY_NAME, "uid": "u", "resourceVersion": "7"}}, dry_run=True
    ),
} | {
    f"{what} a {kind}": change
    for kind, name in KINDS.items()
    for what, change in (
        (
            "restart",
            lambda api, kind=kind, name=name: workloads.restart(
                api, kind, name, NOW, "7", dry_run=True
            ),
        ),
        (
            "scale",
            lambda api, kind=kind, name=name: workloads.set_replicas(
                api, kind, name, 4, "7", dry_run=True
            ),
        ),
    )
}


@pytest.fixture(scope="module")
def server() -> Iterator[Replies]:
    with replying() as running:
        yield running


def asked_for(server: Replies, api: Api, calls: dict[str, Callable[[Api], Any]]) -> list[Asked]:
    """Every request that these calls make, whatever is answered."""
    server.asked.clear()
    server.answer = _answer
    for call in calls.values():
        before = len(server.asked)
        with suppress(ClientError):  # what was asked for is what counts
            call(api)
        assert len(server.asked) > before
    return list(server.asked)


def _answer(asked: Asked) -> Reply:
    if asked.path.endswith("/deployments") and "watch" not in asked.params:
        listed = {"kind": "DeploymentList", "metadata": {"resourceVersion": "1"}, "items": []}
        return 200, listed
    return 404, b"404 page not found\n"


def needed(asked: Asked) -> tuple[Grant, str]:
    """What RBAC checks for a request, and the name in it."""
    parts = asked.path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    cluster = rest[0] != "namespaces"
    if not cluster:
        rest = rest[2:]
    plural, name, part = (*rest, "", "")[:3]
    verbs = {"PATCH": "patch", "POST": "create", "DELETE": "delete", "GET": "get"}
    verb = verbs[asked.method]
    if verb == "get" and not name:
        verb = "watch" if "watch" in asked.params else "list"
    return Grant(verb, group, f"{plural}/{part}" if part else plural, cluster), name


def granted(file: str) -> dict[Grant, set[str]]:
    """What a manifest's bound roles allow, with the names that it is limited to."""
    documents = list(yaml.safe_load_all((MANIFESTS / file).read_text(encoding="utf-8")))
    bound = {
        (each["roleRef"]["kind"], each["roleRef"]["name"])
        for each in documents
        if each["kind"].endswith("Binding")
    }
    found: dict[Grant, set[str]] = {}
    for role in documents:
        if role["kind"] not in {"Role", "ClusterRole"}:
            continue
        assert (role["kind"], role["metadata"]["name"]) in bound
        for rule in role["rules"]:
            assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        grant = Grant(verb, group, resource, role["kind"] == "ClusterRole")
                        assert grant not in found, f"{grant} is granted twice"
                        found[grant] = set(rule.get("resourceNames", ()))
    return found


def test_the_diagnosing_identity_has_what_the_looks_ask_for_and_nothing_else(
    server: Replies, tmp_path: Path
) -> None:
    calls = asked_for(server, Api(server.settings(tmp_path)), LOOKS)
    programs = {Grant(verb, "", "pods/exec") for verb in ("get", "create")}
    assert {needed(each)[0] for each in calls} | programs == set(granted("rbac-diagnose.yaml"))


def test_the_remediating_identity_has_what_the_changes_ask_for_and_nothing_else(
    server: Replies, tmp_path: Path
) -> None:
    api = Api(server.settings(tmp_path), Identity.REMEDIATE)
    wanted = [needed(each) for each in asked_for(server, api, CHANGES)]
    allowed = granted("rbac-remediate.yaml")
    assert {grant for grant, _ in wanted} == set(allowed)
    for grant, name in wanted:
        assert not allowed[grant] or name in allowed[grant], grant


def test_looking_changes_nothing_and_programs_run_only_in_pods_by_name() -> None:
    for grant, names in granted("rbac-diagnose.yaml").items():
        if grant.resource == "pods/exec":
            assert names == {"postgres-pod", "postgresql-0", "redis-pod", "redis-0"}
        else:
            assert grant.verb in {"get", "list", "watch"}
        assert "secrets" not in grant.resource


def test_every_change_is_bound_to_names_but_for_what_has_none_yet() -> None:
    nameless = {
        Grant("create", "", "pods/eviction"),
        Grant("create", "networking.k8s.io", "networkpolicies"),
    }
    for grant, names in granted("rbac-remediate.yaml").items():
        assert not grant.cluster
        assert names or grant in nameless


def test_no_manifest_grants_by_a_wildcard() -> None:
    for file in ("rbac-diagnose.yaml", "rbac-remediate.yaml"):
        for grant in granted(file):
            assert "*" not in (grant.verb, grant.group, grant.resource)
