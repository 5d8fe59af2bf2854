"""What is put into the tests' namespace: the system under care, and the roles that we ship."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deployments.lab.environment import PROJECT
from deployments.lab.kubernetes import manifests
from deployments.lab.kubernetes.manifests import BUSYBOX, Release
from tests.cluster.options import LABS_POSTGRES, LABS_REDIS, Images

Json = dict[str, Any]
FIRST = Release(cause="release 1.4.0")
LABEL = "runbook.example/test"
IDENTITIES = ("diagnose", "remediate")
ROLES = PROJECT / "deployments" / "kubernetes"
_CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}


def inhabitants(namespace: str, images: Images) -> list[Json]:
    """The three Deployments and the two pods, with the images that were named."""
    postgres, redis = manifests.bare_pods()
    _start_postgres_in_any_image(postgres["spec"])
    found = [manifests.api_of(FIRST), *manifests.others(), postgres, redis]
    return [placed(each, namespace, images) for each in found]


def placed(manifest: Json, namespace: str, images: Images) -> Json:
    """The manifest in that namespace, its containers with these images and their policy."""
    spec = manifest["spec"]
    pod = spec["template"]["spec"] if "template" in spec else spec
    named = {BUSYBOX: images.web, LABS_POSTGRES: images.postgres, LABS_REDIS: images.redis}
    for container in pod["containers"]:
        container["image"] = named.get(container["image"], container["image"])
        container["imagePullPolicy"] = images.policy
    manifest["metadata"]["namespace"] = namespace
    return manifest


def _start_postgres_in_any_image(pod: Json) -> None:
    """The lab's own image has its user's number; others begin as root, which PostgreSQL refuses."""
    pod.pop("securityContext")
    (container,) = pod["containers"]
    container.pop("securityContext")
    start = (
        "[ -f /data/pg/PG_VERSION ] || initdb -D /data/pg -A trust -U postgres >/dev/null; "
        "exec postgres -D /data/pg -c unix_socket_directories=/tmp"
    )
    container["command"] = ["sh", "-c"]
    begin = (
        'set -e; mkdir -p /data/pg; [ "$(id -u)" = 0 ] || exec sh -c "$START"; '
        'chown postgres /data/pg; exec su postgres -s /bin/sh -c "PATH=$PATH; $START"'
    )
    container["args"] = [begin]
    container["env"] = [{"name": "START", "value": start}]


def stateful_redis(namespace: str, images: Images, annotations: dict[str, str]) -> Json:
    """A StatefulSet by a name that the role for changes knows."""
    container = manifests.container("redis", LABS_REDIS, ["redis-server", "--save", ""])
    template = {
        "metadata": {"labels": {"app": "redis-set"}, "annotations": annotations},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    made = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "redis"},
        "spec": {
            "replicas": 1,
            "serviceName": "redis",
            "selector": {"matchLabels": {"app": "redis-set"}},
            "template": template,
        },
    }
    return placed(made, namespace, images)


def roles(namespace: str, directory: Path = ROLES) -> Iterator[Json]:
    """Our roles and accounts as shipped, but for the namespace; cluster-wide ones named after it.

    Of resources only the names of the namespace change: those of workloads stay.
    """
    for identity in IDENTITIES:
        text = (directory / f"rbac-{identity}.yaml").read_text(encoding="utf-8")
        for document in yaml.safe_load_all(text):
            head = document["metadata"]
            head["labels"] = {LABEL: namespace}
            if document["kind"] in _CLUSTER_WIDE:
                head["name"] = f"{head['name']}-{namespace}"
            else:
                head["namespace"] = namespace
            if document.get("roleRef", {}).get("kind") == "ClusterRole":
                document["roleRef"]["name"] += f"-{namespace}"
            for subject in document.get("subjects", ()):
                subject["namespace"] = namespace
            yield document
