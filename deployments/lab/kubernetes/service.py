"""The API server's answers: authenticate, authorise, do, show."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from deployments.lab.kubernetes.controllers import Controllers
from deployments.lab.kubernetes.documents import scale_of
from deployments.lab.kubernetes.kinds import PODS, Json
from deployments.lab.kubernetes.lists import list_of, listed, selected
from deployments.lab.kubernetes.logs import log_of
from deployments.lab.kubernetes.rbac import ANONYMOUS, Account
from deployments.lab.kubernetes.refusals import Refusal, no_such_path, not_found, refusal
from deployments.lab.kubernetes.requests import (
    METRICS,
    REVIEWS,
    Request,
    Target,
    target_of,
    verb_of,
)
from deployments.lab.kubernetes.store import Store
from deployments.lab.kubernetes.usage import API_VERSION
from deployments.lab.kubernetes.watches import Watches, typed
from deployments.lab.kubernetes.writes import Writes

_JSON = "application/json"
_TEXT = "text/plain"
_VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.1",
    "gitTreeState": "clean",
    "platform": "linux/amd64",
}
_METADATA_ONLY = "as=PartialObjectMetadata;"
_HEALTH = ("/healthz", "/livez", "/readyz")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, or one whose lines come as they happen."""

    code: int
    body: bytes
    content_type: str = _JSON
    lines: Iterator[Json] | None = None


@dataclass
class Service:
    """Knows no HTTP and no websocket; `accounts` are by bearer token."""

    store: Store
    controllers: Controllers
    watches: Watches
    accounts: dict[str, Account] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._writes = Writes(self.store, self.controllers)

    @property
    def writes(self) -> Writes:
        """What changes objects, without RBAC."""
        return self._writes

    def answer(self, request: Request) -> Answer:
        """Whatever was asked; a refusal is an answer too."""
        with self.store.changed:
            try:
                answer = self._answered(request)
            except Refusal as refused:
                return refused_with(refused)
            self.controllers.settle()
            return answer

    def admit_exec(self, request: Request) -> tuple[Json, str]:
        """The pod and the container in which a program may run. Raises Refusal."""
        with self.store.changed:
            target = target_of(request.path)
            self._account(request).require("get", target, target.name)
            pod = self.store.get(PODS, target.namespace, target.name)
            names = [each["name"] for each in pod["spec"]["containers"]]
            container = request.one("container") or names[0]
            if container not in names:
                text = f"container {container} is not valid for pod {target.name}"
                raise refusal(400, text)
            if not request.query.get("command"):
                raise refusal(400, "you must specify at least 1 command for the container")
            phase = pod.get("status", {}).get("phase", "")
            if phase in {"Failed", "Succeeded"}:
                text = "cannot exec into a container in a completed pod; current phase is "
                raise refusal(400, f"{text}{phase}")
            known = self.controllers.kubelet.containers(pod).get(container)
            if known is None or known.state != "running":
                raise refusal(500, f'container not found ("{container}")')
            return pod, container

    def is_exec(self, request: Request) -> bool:
        """Whether the path is that of a program in a pod."""
        try:
            target = target_of(request.path)
        except Refusal:
            return False
        return target.kind is PODS and target.subresource == "exec" and request.method == "GET"

    def _account(self, request: Request) -> Account:
        token = request.token
        if token is None:
            return ANONYMOUS
        found = self.accounts.get(token)
        if found is None:
            raise refusal(401, "Unauthorized")
        return found

    def _answered(self, request: Request) -> Answer:
        if request.path in _HEALTH:
            return Answer(200, b"ok", _TEXT)
        if request.path == "/version":
            return _shown(200, dict(_VERSION))
        account = self._account(request)
        target = target_of(request.path)
        verb = verb_of(request, target)
        if target.kind is REVIEWS:
            return _shown(201, _reviewed(request.object(), account))
        name = target.name or _named(request)
        account.require(verb, target, name)
        if target.kind in METRICS.values():
            return self._metrics(target, request)
        if target.subresource:
            return self._part(target, request, verb)
        return self._whole(target, request, verb)

    def _whole(self, target: Target, request: Request, verb: str) -> Answer:
        kind = target.kind
        if verb == "watch":
            selected(kind, request)  # a bad selector is refused before anything flows
            return Answer(200, b"", _JSON, self.watches.events(target, request))
        match verb:
            case "get" if _METADATA_ONLY in request.headers.get("accept", ""):
                found = self.store.get(kind, target.namespace, target.name)
                shown = {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": found["metadata"],
                }
            case "get":
                shown = typed(kind, self.store.get(kind, target.namespace, target.name))
            case "list":
                shown = listed(self.store, target, request)
            case "create" if not target.name:
                shown = self._writes.create(target, request)
            case "update" if target.name:
                shown = self._writes.update(target, request)
            case "patch" if target.name:
                shown = self._writes.patch(target, request)
            case "delete":
                shown = self._writes.delete(target, request)
            case "deletecollection":
                wanted = selected(kind, request)
                items = [each for each in self.store.items(kind, target.namespace) if wanted(each)]
                shown = self._writes.delete_all(target, request, items)
            case _:
                text = "the server does not allow this method on the requested resource"
                raise refusal(405, text, {})
        return _shown(201 if verb == "create" else 200, shown)

    def _part(self, target: Target, request: Request, verb: str) -> Answer:
        kind = target.kind
        if (target.subresource, verb) == ("log", "get") and kind is PODS:
            pod = self.store.get(kind, target.namespace, target.name)
            known = self.controllers.kubelet.containers(pod)
            text = log_of(pod, known, request, self.controllers.clock.seconds())
            return Answer(200, text.encode(), _TEXT)
        match (target.subresource, verb):
            case ("eviction", "create") if kind is PODS:
                return _shown(201, self._writes.evict(target, request))
            case ("scale", "get") if kind.scalable:
                shown = scale_of(self.store.get(kind, target.namespace, target.name))
            case ("scale", "patch" | "update") if kind.scalable:
                shown = self._writes.scale(target, request)
            case ("status", "get"):
                shown = typed(kind, self.store.get(kind, target.namespace, target.name))
            case ("status", "patch"):
                shown = self._writes.patch(target, request)
            case ("status", "update"):
                shown = self._writes.update(target, request)
            case _:
                raise no_such_path()
        return _shown(200, shown)

    def _metrics(self, target: Target, request: Request) -> Answer:
        usage = self.controllers.usage
        if not usage.present:
            raise no_such_path()
        kind = target.kind
        items = usage.pods(target.namespace) if kind.plural == "pods" else usage.nodes()
        if not target.name:
            wanted = selected(kind, request)
            return _shown(200, list_of(kind, [each for each in items if wanted(each)], {}))
        found = next((each for each in items if each["metadata"]["name"] == target.name), None)
        if found is None:
            raise not_found(kind, target.name)
        return _shown(200, {"kind": kind.kind, "apiVersion": API_VERSION, **found})


def refused_with(refused: Refusal) -> Answer:
    """A refusal as an answer."""
    if isinstance(refused.body, str):
        return Answer(refused.code, refused.body.encode(), _TEXT)
    return _shown(refused.code, refused.body)


def _shown(code: int, body: Json) -> Answer:
    return Answer(code, json.dumps(body, separators=(",", ":")).encode() + b"\n")


def _named(request: Request) -> str:
    """The name in a field selector counts for RBAC as the name in a path does."""
    found = request.one("fieldSelector")
    prefix = "metadata.name="
    return found.removeprefix(prefix) if found.startswith(prefix) and "," not in found else ""


def _reviewed(review: Json, account: Account) -> Json:
    asked = (review.get("spec") or {}).get("resourceAttributes") or {}
    resource = str(asked.get("resource", ""))
    if asked.get("subresource"):
        resource = f"{resource}/{asked['subresource']}"
    allowed = account.allows(
        str(asked.get("verb", "")),
        str(asked.get("group", "")),
        resource,
        str(asked.get("namespace", "")),
        str(asked.get("name", "")),
    )
    head = {"kind": REVIEWS.kind, "apiVersion": REVIEWS.api_version, "metadata": {}}
    return {**head, "spec": review.get("spec") or {}, "status": {"allowed": allowed}}
