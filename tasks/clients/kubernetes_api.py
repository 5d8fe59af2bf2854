"""The Kubernetes API by plain JSON: requests, pages and streams with one deadline and one size.

The kubernetes package knows the server and the identity; its models are left out, because what we
send back (templates, annotations) must be exactly what we read, and what we read is hostile input
until it is parsed. One connection per request: a deadline can end it, and threads share nothing.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from tasks.clients import http
from tasks.clients.errors import Malformed, Transient
from tasks.clients.kubernetes_identity import Access, Identity
from tasks.clients.kubernetes_refusals import Expired, Resource, refusal
from tasks.domain.errors import BadInput
from tasks.sections.systems import KubernetesSettings

OUR_NAME = "runbook"
"""Field manager of our changes: `kubectl get --show-managed-fields` shows who did it."""

_BODY_LIMIT = 16 * 1024 * 1024
_REFUSAL_LIMIT = 64 * 1024
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_PAGE = 200
_ITEMS = 10_000
_BEGINNINGS = 3
_FIRST_ERROR = 300
_EXCERPT = 200


class PatchType(StrEnum):
    """How a patch's body is meant."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Listed:
    """Every object of a list, and the version from which a watch may go on."""

    items: tuple[dict[str, Any], ...]
    resource_version: str


class Api:
    """One server, one identity, one namespace.

    Every method raises Denied (naming the grant that is missing), NotFound, Conflict, Rejected,
    Transient or Malformed; `seconds` bounds each call, all pages of a list together.
    """

    def __init__(
        self,
        cluster: KubernetesSettings,
        identity: Identity = Identity.DIAGNOSE,
        seconds: float | None = None,
    ) -> None:
        """Raises BadInput when there is no such identity."""
        self._access = Access(cluster, identity)
        self.namespace = cluster.namespace
        self.seconds = cluster.api_seconds if seconds is None else seconds

    def here(self, plural: str, name: str = "", *, group: str = "", **more: str) -> Resource:
        """A resource in our namespace."""
        return Resource(plural, group, namespace=self.namespace, name=name, **more)

    def read(self, resource: Resource, kind: str) -> dict[str, Any]:
        """One object, which must be of this kind."""
        return _of_kind(self._json("GET", "get", resource), kind, resource)

    def metadata(self, resource: Resource) -> dict[str, Any]:
        """One object without its content: of a Secret nothing else is ever asked for."""
        headers = {"accept": _METADATA_ONLY}
        found = self._json("GET", "get", resource, headers=headers)
        return _of_kind(found, "PartialObjectMetadata", resource)

    def listed(
        self, resource: Resource, kind: str, params: Mapping[str, str] | None = None
    ) -> Listed:
        """All pages of a list whose kind is `kind`; a list that expires meanwhile begins anew."""
        end = time.monotonic() + self.seconds
        for beginning in range(_BEGINNINGS):
            try:
                return self._all_pages(resource, kind, dict(params or {}), end)
            except Expired:
                if beginning == _BEGINNINGS - 1:
                    raise
        raise AssertionError

    def patch(
        self,
        resource: Resource,
        body: list[dict[str, Any]] | Mapping[str, Any],
        patch_type: PatchType,
        kind: str,
        *,
        dry_run: bool,
    ) -> dict[str, Any]:
        """Change an object; with `dry_run` everything is checked and nothing is kept."""
        headers = {"content-type": patch_type.value}
        found = self._json(
            "PATCH", "patch", resource, _changing(dry_run=dry_run), json.dumps(body), headers
        )
        return _of_kind(found, kind, resource)

    def create(
        self, resource: Resource, body: Mapping[str, Any], *, dry_run: bool
    ) -> dict[str, Any]:
        """Make an object, or a subresource such as an eviction."""
        headers = {"content-type": "application/json"}
        params = _changing(dry_run=dry_run)
        found = self._json("POST", "create", resource, params, json.dumps(body), headers)
        if not isinstance(found, dict):
            raise Malformed(f"{resource}: expected an object, found {type(found).__name__}")
        return found

    def delete(self, resource: Resource, *, uid: str, resource_version: str, dry_run: bool) -> None:
        """Delete exactly the object that was read: Conflict when it is another one, or changed."""
        wanted = {"uid": uid, **guarded(resource_version)["metadata"]}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": wanted}
        headers = {"content-type": "application/json"}
        params = {"dryRun": "All"} if dry_run else {}
        self._json("DELETE", "delete", resource, params, json.dumps(body), headers)

    def text(self, resource: Resource, params: Mapping[str, str], limit: int) -> bytes:
        """A body that is no JSON, such as a log."""
        wanted = {"params": params, "headers": self._headers({"accept": "*/*"})}
        return self._answer("GET", "get", resource, wanted, limit, self.seconds)

    def pieces(
        self, resource: Resource, params: Mapping[str, str], seconds: float
    ) -> Iterator[bytes]:
        """A body that is no JSON, however large, as it comes; all of it within `seconds`."""
        wanted = self._trust() | {"params": params, "headers": self._headers({"accept": "*/*"})}
        with http.opened("GET", self._url(resource), timeout_seconds=seconds, **wanted) as response:
            self._check(response, "get", resource)
            yield from response.iter_raw()

    def lines(
        self, resource: Resource, params: Mapping[str, str], seconds: float, limit: int
    ) -> Iterator[bytes]:
        """Lines of at most `limit` bytes as they come; a last one that is cut off is left out."""
        wanted = self._trust() | {"params": params, "headers": self._headers()}
        with http.opened("GET", self._url(resource), timeout_seconds=seconds, **wanted) as response:
            self._check(response, "watch", resource)
            pending = b""
            for piece in response.iter_raw():
                *whole, pending = (pending + piece).split(b"\n")
                if len(pending) > limit:
                    raise Malformed(f"{resource}: expected lines up to {limit} bytes, found more")
                yield from whole

    def _all_pages(
        self, resource: Resource, kind: str, params: dict[str, str], end: float
    ) -> Listed:
        items: list[dict[str, Any]] = []
        seen: set[str] = set()
        wanted = params | {"limit": str(_PAGE)}
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise Transient(f"{resource}: expected the list within {self.seconds} s")
            found = self._json("GET", "list", resource, wanted, seconds=left)
            page = _of_kind(found, kind, resource)
            items += _items(page, resource)
            if len(items) > _ITEMS:
                raise Malformed(f"{resource}: expected at most {_ITEMS} objects, found more")
            metadata = page.get("metadata")
            version, onward = _place(metadata, resource)
            if not onward:
                return Listed(tuple(items), version)
            if onward in seen:
                raise Malformed(f"{resource}: the list goes round in a circle")
            seen.add(onward)
            wanted["continue"] = onward

    def _json(
        self,
        method: str,
        verb: str,
        resource: Resource,
        params: Mapping[str, str] | None = None,
        content: str | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Any:  # noqa: ANN401  JSON of another system
        wanted = {"params": params, "content": content, "headers": self._headers(headers)}
        body = self._answer(method, verb, resource, wanted, _BODY_LIMIT, seconds or self.seconds)
        return parsed(body, resource)

    def _answer(
        self,
        method: str,
        verb: str,
        resource: Resource,
        wanted: Mapping[str, Any],
        limit: int,
        seconds: float,
    ) -> bytes:
        url = self._url(resource)
        with http.opened(
            method, url, timeout_seconds=seconds, **self._trust(), **wanted
        ) as response:
            self._check(response, verb, resource)
            return http.bounded(response, url, limit)

    def _check(self, response: Any, verb: str, resource: Resource) -> None:  # noqa: ANN401  httpx's
        if response.status_code >= _FIRST_ERROR:
            body = http.bounded(response, self._url(resource), _REFUSAL_LIMIT)
            raise refusal(response.status_code, body, verb, resource, self._access.identity)

    def _headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        authorization = self._access.authorization()
        if authorization:
            headers["authorization"] = authorization
        return headers | dict(more or {})

    def _trust(self) -> dict[str, Any]:
        return {"tls": self._access.tls, "server_name": self._access.server_name}

    def _url(self, resource: Resource) -> str:
        return f"{self._access.host}{resource.path}"


def guarded(resource_version: str) -> dict[str, Any]:
    """The part of a patch that makes it a Conflict when the object has changed since."""
    if not resource_version:  # an empty one would be last-write-wins
        raise BadInput("expected the resourceVersion that the change was planned against")
    return {"metadata": {"resourceVersion": resource_version}}


def parsed(body: bytes, resource: Resource) -> Any:  # noqa: ANN401  JSON of another system
    """Strict JSON. Raises Malformed with an excerpt."""
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        text = f"{resource}: expected JSON of the API server, found {body[:_EXCERPT]!r}"
        raise Malformed(text) from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _of_kind(found: Any, kind: str, resource: Resource) -> dict[str, Any]:  # noqa: ANN401  as above
    if not isinstance(found, dict) or found.get("kind") != kind:
        said = found.get("kind") if isinstance(found, dict) else type(found).__name__
        raise Malformed(f"{resource}: expected {kind}, found {str(said)[:60]!r}")
    return found


def _items(page: Mapping[str, Any], resource: Resource) -> list[dict[str, Any]]:
    items = page.get("items")
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise Malformed(f"{resource}: expected a list of objects, found {type(items).__name__}")
    return items


def _place(metadata: object, resource: Resource) -> tuple[str, str]:
    """The list's version, and where its next page begins."""
    found = metadata if isinstance(metadata, dict) else {}
    version, onward = found.get("resourceVersion", ""), found.get("continue", "")
    if not isinstance(version, str) or not isinstance(onward, str):
        raise Malformed(f"{resource}: expected a version and a place as texts, found others")
    return version, onward


def _changing(*, dry_run: bool) -> dict[str, str]:
    return {"fieldManager": OUR_NAME} | ({"dryRun": "All"} if dry_run else {})
