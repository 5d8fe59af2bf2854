"""The manifests hold together, keep to the API's schema, and give nobody more than they need."""

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from tasks.settings import Settings
from tests.deployments import manifests
from tests.deployments.manifests import FOLDER, Json, containers, labelled, pod_of, selects

DOCUMENTS = manifests.rendered()
WORKLOADS = [each for each in DOCUMENTS if pod_of(each) is not None]
DEPLOYMENTS = [each for each in DOCUMENTS if each["kind"] == "Deployment"]
POLICIES = [each for each in DOCUMENTS if each["kind"] == "NetworkPolicy"]
PODS = labelled(DOCUMENTS)
NAMESPACE = "runbook"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SILENT = {"prefect-services"}  # Prefect's services listen nowhere


def name_of(document: Json) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def of_kind(kind: str) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in DOCUMENTS if each["kind"] == kind}


def test_every_file_of_the_folder_is_applied_once() -> None:
    listed = manifests.kustomization()["resources"]
    there = {each.name for each in FOLDER.glob("*.yaml")} - {manifests.KUSTOMIZATION.name}
    assert sorted(listed) == sorted(there)


def test_names_are_unique() -> None:
    keys = [(name_of(each), each["metadata"].get("namespace")) for each in DOCUMENTS]
    assert len(set(keys)) == len(keys)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
def test_kubectl_renders_what_these_tests_look_at() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, check=True)
    theirs = {(name_of(each), each["metadata"].get("namespace")): each
              for each in yaml.safe_load_all(done.stdout)}  # fmt: skip
    ours = {(name_of(each), each["metadata"].get("namespace")): each for each in DOCUMENTS}
    assert theirs == ours


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_resource_keeps_to_the_schema_of_the_api(document: Json) -> None:
    assert manifests.faults(document) == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("spec", "replica"), 2, "spec.replica: Extra inputs are not permitted"),
        (("spec", "min_ready_seconds"), 2, "min_ready_seconds: no field"),
        (("spec", "replicas"), "2", "spec.replicas: Input should be a valid integer"),
        (("spec", "replicas"), True, "spec.replicas: Input should be a valid integer"),
        (("spec", "selector"), None, "spec.selector: Input should be"),
        (
            ("spec", "template", "spec", "containers"),
            {},
            "containers: Input should be a valid list",
        ),
        (("spec", "template", "spec", "hostNetworks"), True, "hostNetworks: Extra inputs"),
        (("metadata", "labels", "a"), 1, "labels.a: Input should be a valid string"),
        (("apiVersion",), "apps/v1beta1", "expected Deployment of apps/v1"),
    ],
)
def test_resource_that_the_api_would_refuse_is_refused(
    path: tuple[str, ...], value: Any, complaint: str
) -> None:
    document = copy.deepcopy(DEPLOYMENTS[0])
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(complaint in fault for fault in manifests.faults(document))


# What pods may do.


@pytest.mark.parametrize("document", WORKLOADS, ids=name_of)
def test_pod_keeps_to_the_restricted_profile(document: Json) -> None:
    pod = pod_of(document)
    assert pod is not None
    spec, context = pod["spec"], pod["spec"]["securityContext"]
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False  # PREFECT_API_PORT would be taken for a setting
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all("hostPath" not in volume for volume in spec["volumes"])
    for container in containers(pod):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])


@pytest.mark.parametrize("document", WORKLOADS, ids=name_of)
def test_every_mount_has_its_volume_and_every_volume_its_mount(document: Json) -> None:
    pod = pod_of(document)
    assert pod is not None
    there = {each["name"] for each in pod["spec"]["volumes"]}
    used = {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]}
    assert used == there


@pytest.mark.parametrize("document", WORKLOADS, ids=name_of)
def test_only_pods_that_run_flows_may_ask_the_cluster(document: Json) -> None:
    pod = pod_of(document)
    assert pod is not None
    runs_flows = pod["metadata"]["labels"].get("runbook/runs-flows") == "true"
    assert pod["spec"]["automountServiceAccountToken"] is runs_flows
    assert pod["spec"]["serviceAccountName"] == ("runbook-diagnose" if runs_flows else "prefect")
    assert pod["spec"]["serviceAccountName"] in of_kind("ServiceAccount")


def test_every_binding_binds_what_exists() -> None:
    accounts = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in DOCUMENTS
        if each["kind"] == "ServiceAccount"
    }
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for binding in of_kind(kind).values():
            assert binding["roleRef"]["name"] in of_kind(binding["roleRef"]["kind"])
            for subject in binding["subjects"]:
                assert (subject["namespace"], subject["name"]) in accounts


def test_account_that_mends_gets_no_role_that_looks() -> None:
    bound = [
        binding["roleRef"]["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in of_kind(kind).values()
        if any(each["name"] == "runbook-remediate" for each in binding["subjects"])
    ]
    assert set(bound) == {"runbook-remediate"}


# Who finds whom.


@pytest.mark.parametrize("document", DEPLOYMENTS, ids=name_of)
def test_deployment_selects_its_own_pods_alone(document: Json) -> None:
    selector = document["spec"]["selector"]
    found = [pod.workload for pod in PODS if selects(selector, pod.labels)]
    assert found == [document["metadata"]["name"]]


@pytest.mark.parametrize("document", DEPLOYMENTS, ids=name_of)
def test_replicas_are_spread_by_their_own_labels(document: Json) -> None:
    constraints = document["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
    assert bool(constraints) == (document["spec"]["replicas"] > 1)
    for each in constraints:
        found = [pod.workload for pod in PODS if selects(each["labelSelector"], pod.labels)]
        assert found == [document["metadata"]["name"]]


def test_whatever_has_replicas_has_a_budget_that_leaves_room_for_a_drain() -> None:
    replicated = {
        each["metadata"]["name"]: each["spec"]["replicas"]
        for each in DEPLOYMENTS
        if each["spec"]["replicas"] > 1
    }
    budgets = of_kind("PodDisruptionBudget")
    assert set(budgets) == set(replicated)
    for name, budget in budgets.items():
        assert [p.workload for p in PODS if selects(budget["spec"]["selector"], p.labels)] == [name]
        assert 0 < budget["spec"]["minAvailable"] < replicated[name]


@pytest.mark.parametrize("service", of_kind("Service").values(), ids=name_of)
def test_service_leads_to_a_port_that_its_pods_name(service: Json) -> None:
    chosen = {"matchLabels": service["spec"]["selector"]}
    (pod,) = [each for each in PODS if selects(chosen, each.labels)]
    assert {each["targetPort"] for each in service["spec"]["ports"]} <= set(pod.ports)


def test_prefect_is_called_by_the_address_of_its_service() -> None:
    service = of_kind("Service")["prefect-api"]
    url = of_kind("ConfigMap")["prefect-client"]["data"]["PREFECT_API_URL"]
    assert url == f"http://prefect-api.{NAMESPACE}.svc:{service['spec']['ports'][0]['port']}/api"


@pytest.mark.parametrize("document", DEPLOYMENTS, ids=name_of)
def test_whatever_listens_is_probed_at_a_port_it_has(document: Json) -> None:
    (container,) = document["spec"]["template"]["spec"]["containers"]
    probes = [container[key]["httpGet"] for key in container if key.endswith("Probe")]
    assert len(probes) == (0 if document["metadata"]["name"] in SILENT else 3)
    ports = {each["name"] for each in container.get("ports", [])}
    assert {each["port"] for each in probes} <= ports


def test_probed_paths_are_those_that_answer() -> None:
    paths = {
        document["metadata"]["name"]: [
            container[kind]["httpGet"]["path"]
            for container in document["spec"]["template"]["spec"]["containers"]
            for kind in ("startupProbe", "livenessProbe", "readinessProbe")
            if kind in container
        ]
        for document in DEPLOYMENTS
    }
    assert paths == {
        "prefect-api": ["/api/health", "/api/health", "/api/ready"],
        "prefect-services": [],
        "gateway": ["/healthz", "/healthz", "/readyz"],
        "worker": ["/health", "/health", "/health"],
    }


# The network.


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


# Secrets and settings.


def references() -> Iterator[tuple[str, str, str | None]]:
    """Kind, name and key (None: all) of what pods read."""
    for workload in WORKLOADS:
        pod = pod_of(workload)
        assert pod is not None
        for container in containers(pod):
            for each in container.get("envFrom", []):
                for kind in ("secretRef", "configMapRef"):
                    if kind in each:
                        yield kind.removesuffix("Ref"), each[kind]["name"], None
            for variable in container.get("env", []):
                key = variable["valueFrom"]["secretKeyRef"]  # no value stands in a manifest
                yield "secret", key["name"], key["key"]
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                yield "secret", volume["secret"]["secretName"], None
            if "configMap" in volume:
                yield "configMap", volume["configMap"]["name"], None


def documented() -> dict[str, set[str]]:
    """Keys by secret, from the README's table."""
    found: dict[str, set[str]] = {}
    for row in re.findall(r"^\| (`[a-z-]+`) \| (.+?) \|", README, re.MULTILINE):
        keys = set(re.findall(r"`([A-Za-z_.-]+)`", row[1]))
        if keys:
            found.setdefault(row[0].strip("`"), set()).update(keys)
    return found


def test_every_secret_that_pods_read_is_documented_with_its_keys() -> None:
    made = set(of_kind("Secret"))
    read: dict[str, set[str]] = {}
    for kind, name, key in references():
        if kind == "secret" and name not in made:
            read.setdefault(name, set()).update({key} if key else set())
    table = documented()
    assert set(table) == set(read)
    for name, keys in read.items():
        assert keys <= table[name]


def test_every_configuration_that_pods_read_is_here_or_documented() -> None:
    for kind, name, _ in references():
        if kind == "configMap":
            assert name in of_kind("ConfigMap") or f"ConfigMap `{name}`" in README


def test_every_claim_is_made() -> None:
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for each in WORKLOADS
        for volume in (pod_of(each) or {})["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == set(of_kind("PersistentVolumeClaim"))


def test_no_secret_has_a_value_in_the_folder() -> None:
    for secret in of_kind("Secret").values():
        assert not {"data", "stringData"} & set(secret)


def is_setting(variable: str) -> bool:
    model: Any = Settings
    for part in variable.removeprefix("RUNBOOK_").lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return False
        if part not in model.model_fields:
            return False
        model = model.model_fields[part].annotation
    return True


def test_every_variable_of_ours_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    values = of_kind("ConfigMap")["runbook"]["data"]
    secret = {key for keys in documented().values() for key in keys if key.startswith("RUNBOOK_")}
    assert [each for each in {*values, *secret} if not is_setting(each)] == []
    for key, value in values.items():
        monkeypatch.setenv(key, value)
    assert Settings().gateway.spool is None  # on an emptyDir what was acknowledged would be lost


def test_paths_of_ours_are_where_something_is_mounted() -> None:
    values = of_kind("ConfigMap")["runbook"]["data"]
    paths = {each for each in values.values() if each.startswith("/")}
    for name in ("gateway", "worker"):
        spec = of_kind("Deployment")[name]["spec"]["template"]["spec"]
        mounts = [each["mountPath"] for each in spec["containers"][0]["volumeMounts"]]
        assert [p for p in paths if not any(p == m or p.startswith(f"{m}/") for m in mounts)] == []


def test_gateways_own_secrets_reach_no_other_part() -> None:
    readers = {
        each["metadata"]["name"]
        for each in WORKLOADS
        if "runbook-gateway" in str((pod_of(each) or {})["spec"])
    }
    assert readers == {"gateway"}
