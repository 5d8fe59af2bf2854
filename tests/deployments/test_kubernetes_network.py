"""Whom the network policies let in and out: nobody but those who are named, and these exist."""

from collections.abc import Iterator

import pytest

from tests.deployments.applied import DOCUMENTS, PODS, README, WORKLOADS, name_of, of_kind
from tests.deployments.manifests import Json, containers, pod_of, selects

POLICIES = [each for each in DOCUMENTS if each["kind"] == "NetworkPolicy"]


def test_everything_is_denied_first() -> None:
    nothing = of_kind("NetworkPolicy")["nothing"]["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def peers(policy: Json) -> Iterator[tuple[str, Json, list[Json]]]:
    spec = policy["spec"]
    for direction, key in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction, []):
            assert rule[key], "a rule without peers is one for everybody"
            assert rule["ports"], "a rule without ports is one for all of them"
            for peer in rule[key]:
                yield direction, peer, rule["ports"]


@pytest.mark.parametrize("policy", POLICIES, ids=name_of)
def test_policy_is_about_pods_that_exist(policy: Json) -> None:
    assert any(selects(policy["spec"]["podSelector"], pod.labels) for pod in PODS)


@pytest.mark.parametrize("policy", POLICIES, ids=name_of)
def test_policy_names_peers_that_exist_and_ports_that_they_have(policy: Json) -> None:
    own = [pod for pod in PODS if selects(policy["spec"]["podSelector"], pod.labels)]
    for direction, peer, ports in peers(policy):
        if "ipBlock" in peer:
            continue
        if "namespaceSelector" in peer:
            (namespace,) = peer["namespaceSelector"]["matchLabels"].values()
            known = namespace in {"rlhf-audit-trail", "kube-system"} or f"`{namespace}`" in README
            assert known, f"{namespace} is to be named in the README"
            others = []
        else:
            others = [pod for pod in PODS if selects(peer["podSelector"], pod.labels)]
            assert others
        for target in own if direction == "ingress" else others:
            assert {each["port"] for each in ports} <= set(target.ports)


def test_whoever_calls_prefect_is_let_in_and_out() -> None:
    callers = {
        each["metadata"]["name"]
        for each in WORKLOADS
        if any(
            "prefect-client" in str(container.get("envFrom"))
            for container in containers(pod_of(each) or {})
        )
    }
    api = next(pod for pod in PODS if pod.workload == "prefect-api")
    let_in, let_out = set(), set()
    for policy in POLICIES:
        for direction, peer, _ in peers(policy):
            if set(peer) != {"podSelector"}:
                continue
            others = [pod for pod in PODS if selects(peer["podSelector"], pod.labels)]
            own = [pod for pod in PODS if selects(policy["spec"]["podSelector"], pod.labels)]
            if direction == "ingress" and api in own:
                let_in |= {pod.workload for pod in others}
            if direction == "egress" and api in others:
                let_out |= {pod.workload for pod in own}
    assert callers == let_in == let_out == {"gateway", "worker", "set-up"}


def test_nodes_metadata_service_is_out_of_reach() -> None:
    for policy in POLICIES:
        for _, peer, _ in peers(policy):
            if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                assert "169.254.0.0/16" in peer["ipBlock"]["except"]
