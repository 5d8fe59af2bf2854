"""The manifests hold together, keep to the API's schema, and give nobody more than they need."""

import copy
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.deployments import manifests
from tests.deployments.applied import DEPLOYMENTS, DOCUMENTS, PODS, WORKLOADS, name_of, of_kind
from tests.deployments.manifests import FOLDER, Json, containers, pod_of, selects

NAMESPACE = "runbook"
SILENT = {"prefect-services"}  # Prefect's services listen nowhere


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
