"""Secrets, settings and volumes that pods refer to: each is made, or told of in the README."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tasks.settings import Settings
from tests.deployments.applied import README, WORKLOADS, of_kind
from tests.deployments.manifests import containers, pod_of


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
