"""What is asked of the API server: the parts of a request and of its path."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from deployments.lab.kubernetes.kinds import KINDS, Json, Kind
from deployments.lab.kubernetes.refusals import no_such_path, refusal

METRICS = {
    "pods": Kind("metrics.k8s.io", "v1beta1", "pods", "PodMetrics"),
    "nodes": Kind("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", namespaced=False),
}
REVIEWS = Kind(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
)
_SERVED = {
    (each.group, each.version, each.plural): each for each in (*KINDS, *METRICS.values(), REVIEWS)
}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Request:
    """As it came over HTTP. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """All parameters."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def one(self, name: str) -> str:
        """A parameter, or nothing."""
        return self.query.get(name, [""])[0]

    def is_true(self, name: str) -> bool:
        """Of a parameter that is yes or no."""
        return self.one(name) in {"true", "1"}

    @property
    def is_dry(self) -> bool:
        """Whether nothing may be kept. Raises the 400 of another value than All."""
        found = self.query.get("dryRun", [])
        if found and found != ["All"]:
            raise refusal(400, f'Invalid value: {found}: dryRun: Unsupported value: "{found[0]}"')
        return bool(found)

    @property
    def manager(self) -> str:
        """Who writes: `fieldManager`, or the program's name in User-Agent."""
        agent = self.headers.get("user-agent", "unknown").partition("/")[0]
        return (self.one("fieldManager") or agent)[:128]

    @property
    def token(self) -> str | None:
        """The bearer token, if there is one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    @property
    def content_type(self) -> str:
        """Without parameters."""
        return self.headers.get("content-type", "application/json").partition(";")[0].strip()

    def content(self) -> Any:  # noqa: ANN401  whatever JSON or YAML holds
        """The decoded body. Raises the server's 400."""
        try:
            if self.content_type.endswith("yaml"):
                return yaml.safe_load(self.body)
            return json.loads(self.body or b"{}")
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            text = f"couldn't get version/kind; json parse error: {error}"
            raise refusal(400, text[:300]) from error

    def object(self) -> Json:
        """The body that must be an object."""
        found = self.content()
        if not isinstance(found, dict):
            raise refusal(400, f"expected an object, found {type(found).__name__}")
        return found


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names. Without a name it is the collection."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def resource(self) -> str:
        """As RBAC has it: `pods/log`."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def target_of(path: str) -> Target:
    """Raises the plain 404 of a path that is not served."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    match parts:
        case ["api", "v1", *rest]:
            group, version = "", "v1"
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise no_such_path()
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces":  # noqa: PLR2004  namespaces/NAME/PLURAL
        namespace, rest = rest[1], rest[2:]
    kind = _SERVED.get((group, version, rest[0] if rest else ""))
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):  # noqa: PLR2004
        raise no_such_path()
    name, subresource = (*rest[1:], "", "")[:2]
    if name and kind.namespaced and not namespace:
        raise no_such_path()
    return Target(kind, namespace, name, subresource)


def verb_of(request: Request, target: Target) -> str:
    """As RBAC has it."""
    if request.method == "GET":
        if target.name:
            return "get"
        return "watch" if request.is_true("watch") else "list"
    verb = _VERBS.get(request.method, "")
    return f"{verb}collection" if verb == "delete" and not target.name else verb
