"""The simulated cluster: started, looked at, broken and mended by its caller.

    with simulated_cluster(programs={"redis-pod": Program(...)}) as cluster:
        settings = KubernetesSettings(config_file=cluster.config_file, context="diagnose")

Its clock stands still and is moved by `advance`; with `live` it follows the real one.
"""

import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deployments.lab.environment import LOOPBACK, PROJECT
from deployments.lab.errors import LabError
from deployments.lab.kubernetes import manifests
from deployments.lab.kubernetes.behaviours import Behaviour, Behaviours, means
from deployments.lab.kubernetes.certificate import certify
from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.controllers import Controllers
from deployments.lab.kubernetes.documents import with_last_applied
from deployments.lab.kubernetes.faults import ApiFaults, PodFaults
from deployments.lab.kubernetes.kinds import (
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    Json,
    Kind,
    kind_named,
    plural_of,
)
from deployments.lab.kubernetes.kubeconfig import kubeconfig
from deployments.lab.kubernetes.manifests import HEALTHY, NAMESPACE, Release
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.patches import strategic_patched
from deployments.lab.kubernetes.programs import Program, Programs
from deployments.lab.kubernetes.rbac import ADMIN, Account, accounts_of
from deployments.lab.kubernetes.requests import Target
from deployments.lab.kubernetes.service import Service
from deployments.lab.kubernetes.serving import Server, serving
from deployments.lab.kubernetes.store import Store
from deployments.lab.kubernetes.watches import Watches

_APPLY = Writer("kubectl-client-side-apply")
_IDENTITIES = ("admin", "diagnose", "remediate")
_ROLES = PROJECT / "deployments" / "kubernetes"


@dataclass(frozen=True, slots=True)
class Cluster(PodFaults, ApiFaults):
    """What a caller holds. Pods are meant by app (`celery-workers`) or pattern (`*-pod`)."""

    namespace: str
    directory: Path
    authority: Path
    port: int
    tokens: Mapping[str, str]
    """By identity: admin, diagnose, remediate."""
    clock: Clock
    store: Store
    controllers: Controllers
    service: Service
    programs: Programs
    server: Server

    # Connection

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def config_file(self) -> Path:
        """A kubeconfig with the contexts admin, diagnose (the current one) and remediate."""
        return self.directory / "kubeconfig"

    def kubeconfig(
        self, file: Path, *, server: str = "", tokens: Mapping[str, str] | None = None
    ) -> Path:
        """Write another one: of another server (unverified, if it is not ours) or token."""
        authority = None if server else self.authority
        users = {**self.tokens, **(tokens or {})}
        content = kubeconfig(server or self.url, authority, users, self.namespace)
        file.touch(mode=0o600)
        file.write_text(content, encoding="utf-8")
        return file

    def grant(self, identity: str, account: Account) -> None:
        """Give an identity other rights, from the next request on."""
        self.service.accounts[self.tokens[identity]] = account

    # Time

    def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        self.clock.advance(seconds)

    def pause_controllers(self) -> None:
        """Nothing is observed, made or ended any more: generations run ahead."""
        with self.store.changed:
            self.controllers.paused = True

    def resume_controllers(self) -> None:
        """They catch up."""
        with self.store.changed:
            self.controllers.paused = False
            self.controllers.settle()

    # Objects

    def get(self, plural: str, name: str) -> Json:
        """An object as stored. Raises Refusal."""
        kind = kind_named(plural)
        with self.store.changed:
            return self.store.get(kind, self._place(kind), name)

    def items(self, plural: str) -> list[Json]:
        """All of a kind in the namespace (or of the cluster)."""
        kind = kind_named(plural)
        with self.store.changed:
            return self.store.items(kind, self._place(kind))

    def pods(self, who: str = "*") -> list[Json]:
        """Pods that are not being taken away."""
        return [
            each
            for each in self.items("pods")
            if means(who, each) and "deletionTimestamp" not in each["metadata"]
        ]

    def add(self, plural: str, content: Json, manager: str = "kubectl-create") -> Json:
        """Make an object from its manifest (the namespace may be left out)."""
        kind = kind_named(plural)
        with self.store.changed:
            head = dict(content["metadata"])
            if kind.namespaced:
                head.setdefault("namespace", self.namespace)
            target = Target(kind, self._place(kind), "", "")
            made = self.service.writes.made(target, {**content, "metadata": head}, Writer(manager))
            self.controllers.settle()
            return made

    def add_deployment(
        self,
        name: str,
        image: str = manifests.BUSYBOX,
        *,
        replicas: int = 1,
        **spec: Any,  # noqa: ANN401
    ) -> Json:
        """A Deployment of one container; `spec` as in a manifest (`strategy`, ...)."""
        made = manifests.container("main", image)
        return self.add(
            "deployments", manifests.deployment(name, made, replicas=replicas, spec=spec)
        )

    def change(self, plural: str, name: str, patch: Json, manager: str = "kubectl-edit") -> Json:
        """Change an object by a strategic merge patch, past RBAC; status included."""
        kind = kind_named(plural)
        with self.store.changed:
            old = self.store.get(kind, self._place(kind), name)
            made = self.store.update(kind, strategic_patched(old, patch), Writer(manager))
            self.controllers.settle()
            return made

    def delete(self, plural: str, name: str) -> None:
        """Take an object away, a pod in its own time."""
        kind = kind_named(plural)
        with self.store.changed:
            found = self.store.get(kind, self._place(kind), name)
            if kind is PODS:
                self.controllers.stop(found)
            else:
                self.store.remove(kind, self._place(kind), name)
            self.controllers.settle()

    def release(self, release: Release) -> None:
        """Roll the API to another release, as `kubectl annotate` and `kubectl set` would."""
        cause = {"metadata": {"annotations": {"kubernetes.io/change-cause": release.cause}}}
        container = manifests.api_of(release)["spec"]["template"]["spec"]["containers"][0]
        changed = {"name": "api", "image": release.image, "env": container.get("env", [])}
        if not changed["env"]:
            del changed["env"]
        template = {"spec": {"template": {"spec": {"containers": [changed]}}}}
        with self.store.changed:
            if release.cause_first:
                self.change("deployments", manifests.API, cause, "kubectl-annotate")
                self.change("deployments", manifests.API, template, "kubectl-set")
            else:
                self.change("deployments", manifests.API, {**cause, **template}, "kubectl-set")

    def _place(self, kind: Kind) -> str:
        return self.namespace if kind.namespaced else ""


@contextmanager
def simulated_cluster(
    *,
    releases: Sequence[Release] = HEALTHY,
    programs: Mapping[str, Program] | None = None,
    live: bool = False,
    now: datetime | None = None,
    accounts: Mapping[str, Account] | None = None,
    node: Json | None = None,
    inhabitants: Sequence[Json] | None = None,
    usual: Mapping[str, Behaviour] | None = None,
    place: Path | None = None,
) -> Iterator[Cluster]:
    """A cluster with the system under care in it, for as long as the block runs.

    `programs` says what stands for a pod when a program is run in it, by the pod's name. The rights
    of `diagnose` and `remediate` are those of the roles that we ship, or of `accounts`. Beside the
    API there are `inhabitants` (manifests), else the recorded ones; `usual` is how the pods of an
    app behave, where it differs. Its files are in a directory below `place`. LabError
    without a release, and at the end when the simulator itself made a mistake.
    """
    if not releases:
        raise LabError("expected at least one release of the API, found none")
    end = now or datetime.now(UTC)
    lock = threading.RLock()
    clock = Clock(lock, end - timedelta(seconds=sum(each.lasts for each in releases)))
    store = Store(lock, clock)
    known = {**manifests.USUAL, **(usual or {})}
    behaviours = Behaviours(usual=known, missing={manifests.MISSING})
    controllers = Controllers(store, clock, behaviours)
    service = Service(store, controllers, Watches(store))
    running = Programs(dict(programs or {}))
    tokens = {name: secrets.token_urlsafe(24) for name in _IDENTITIES}
    rights = {"admin": ADMIN, **_granted(), **(accounts or {})}
    service.accounts |= {tokens[name]: account for name, account in rights.items()}
    with tempfile.TemporaryDirectory(prefix="cluster-", dir=place) as temporary:
        authority, certificate, key = certify(Path(temporary))
        server = Server(service, running, certificate, key)
        with serving(server) as port:
            cluster = Cluster(
                NAMESPACE,
                Path(temporary),
                authority,
                port,
                tokens,
                clock,
                store,
                controllers,
                service,
                running,
                server,
            )
            cluster.kubeconfig(cluster.config_file)
            recorded = [*manifests.others(), *manifests.bare_pods()]
            beside = recorded if inhabitants is None else inhabitants
            _furnish(cluster, releases, node or manifests.node(), beside)
            try:
                if live:
                    clock.start()
                yield cluster
            finally:
                clock.end()
    if server.mistakes:
        raise LabError(f"expected the simulated API server to answer, found {server.mistakes[0]}")


def _furnish(
    cluster: Cluster, releases: Sequence[Release], node: Json, inhabitants: Sequence[Json]
) -> None:
    with cluster.store.changed:
        cluster.store.create(NODES, node, Writer("kubelet"))
        target = Target(NAMESPACES, "", "", "")
        named = {"metadata": {"name": cluster.namespace}}
        cluster.service.writes.made(target, named, _APPLY)
    for each in inhabitants:
        cluster.add(plural_of(each["kind"]), with_last_applied(each), _APPLY.manager)
    first = manifests.api_of(releases[0])
    cluster.add(DEPLOYMENTS.plural, with_last_applied(first), _APPLY.manager)
    cluster.advance(releases[0].lasts)
    for release in releases[1:]:
        cluster.release(release)
        cluster.advance(release.lasts)


def _granted() -> dict[str, Account]:
    """What the roles that we ship grant to our two identities."""
    return {
        name: accounts_of(_ROLES / f"rbac-{name}.yaml")[f"runbook-{name}"]
        for name in ("diagnose", "remediate")
    }
