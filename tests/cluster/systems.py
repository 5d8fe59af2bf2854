"""The system under care in a cluster, simulated or real: the same objects, the same two identities.

The real one lives in a namespace of our own making, with our label, and goes with it. Nothing else
of that cluster is touched but two cluster roles with their bindings, named after the namespace.
"""

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
from kubernetes import client, config

from deployments.lab.environment import require_loopback
from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.programs import Program
from deployments.lab.state import private_file
from tasks.clients.errors import Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Access, Identity
from tasks.sections.systems import KubernetesSettings
from tests.cluster.administration import Administration
from tests.cluster.objects import FIRST, IDENTITIES, LABEL, inhabitants, roles
from tests.cluster.options import Images, RealCluster

_Found = TypeVar("_Found")
_PATIENCE = 120.0
_STEP = 1.0


@dataclass(frozen=True)
class System:
    """What the tests hold. `simulated` is its clock and its faults; None in a real cluster."""

    namespace: str
    config_file: Path
    images: Images
    administration: Administration
    simulated: Cluster | None = None

    @property
    def settings(self) -> KubernetesSettings:
        """Of both identities."""
        return KubernetesSettings(
            config_file=self.config_file,
            context="diagnose",
            remediate_context="remediate",
            namespace=self.namespace,
        )

    @property
    def looker(self) -> Api:
        return Api(self.settings)

    @property
    def mender(self) -> Api:
        return Api(self.settings, Identity.REMEDIATE)

    def until(self, look: Callable[[], _Found | None], what: str) -> _Found:
        """The first truthy answer; time passes between two looks, in the simulated one at once."""
        passed = 0.0
        while True:
            found: _Found | None = None
            with suppress(Transient):
                found = look()
            if found:
                return found
            assert passed < _PATIENCE, f"not within {_PATIENCE:.0f} s: {what}"
            self.wait()
            passed += _STEP

    def wait(self) -> None:
        """A second."""
        if self.simulated is not None:
            self.simulated.advance(_STEP)
        else:
            time.sleep(_STEP)

    def crash(self, deployment: str, container: str, last_words: str) -> None:
        """From now on its container says something and ends, again and again."""
        if self.simulated is not None:
            self.simulated.crash_loop(deployment, after=1.0, code=3, last_words=[last_words])
        program = ["sh", "-c", f"sleep 1; echo '{last_words}'; exit 3"]
        changed = {"name": container, "command": program}
        spec = {"template": {"spec": {"containers": [changed]}}}
        self.administration.change("Deployment", deployment, {"spec": spec})


@contextmanager
def simulated_system(programs: dict[str, Program]) -> Iterator[System]:
    """In the simulated cluster, on loopback."""
    with simulated_cluster(releases=[FIRST], programs=programs) as cluster:
        require_loopback(cluster.url)
        admin = Access(KubernetesSettings(config_file=cluster.config_file, context="admin"))
        with Administration(admin, cluster.namespace) as administration:
            yield System(cluster.namespace, cluster.config_file, Images(), administration, cluster)


@contextmanager
def real_system(real: RealCluster, directory: Path) -> Iterator[System]:
    """In the cluster that was named, in a namespace that is made here and removed at the end."""
    namespace = f"runbook-test-{secrets.token_hex(4)}"
    mine = KubernetesSettings(
        config_file=real.config_file, context=real.context, namespace=namespace
    )
    made: list[tuple[str, str]] = []
    with Administration(Access(mine), namespace) as administration:
        try:
            head = {"name": namespace, "labels": {LABEL: namespace}}
            administration.add({"apiVersion": "v1", "kind": "Namespace", "metadata": head})
            made.append(("Namespace", namespace))
            for each in roles(namespace):
                administration.add(each)
                if "namespace" not in each["metadata"]:
                    made.append((each["kind"], each["metadata"]["name"]))
            tokens = {each: administration.token_of(f"runbook-{each}") for each in IDENTITIES}
            file = _kubeconfig(real, tokens, namespace, directory)
            for each in inhabitants(namespace, real.images):
                administration.add(each)
            yield System(namespace, file, real.images, administration)
        finally:
            _remove(administration, made)


def host_of(real: RealCluster) -> str:
    """Name or address of the API server that was named."""
    access = Access(KubernetesSettings(config_file=real.config_file, context=real.context))
    return httpx.URL(access.host).host


def _remove(administration: Administration, made: list[tuple[str, str]]) -> None:
    """What we made and nothing else: each object must still carry our label."""
    left = []
    for kind, name in reversed(made):
        try:
            labels = administration.get(kind, name)["metadata"].get("labels", {})
            assert labels.get(LABEL) == administration.namespace, "it is not ours any more"
            administration.remove(kind, name)
        except (AssertionError, httpx.HTTPError) as error:
            left.append(f"{kind} {name} stays: {error}")
    assert not left, "; ".join(left)


def _kubeconfig(real: RealCluster, tokens: dict[str, str], namespace: str, directory: Path) -> Path:
    """Both identities at the same API server, whose certificate is verified as before."""
    known = client.Configuration()
    config.load_kube_config(
        str(real.config_file), real.context, client_configuration=known, persist_config=False
    )
    cluster: dict[str, object] = {"server": known.host}
    if known.ssl_ca_cert:
        authority = Path(known.ssl_ca_cert).read_bytes()
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    if known.tls_server_name:
        cluster["tls-server-name"] = known.tls_server_name
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "diagnose",
        "clusters": [{"name": "real", "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}} for name, token in tokens.items()],
        "contexts": [
            {"name": name, "context": {"cluster": "real", "user": name, "namespace": namespace}}
            for name in tokens
        ],
    }
    return private_file(directory / "identities.kubeconfig", json.dumps(content))
