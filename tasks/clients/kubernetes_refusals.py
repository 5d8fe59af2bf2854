"""What an API server's refusals mean, by the `reason` of its Status rather than by the number.

409 is both "it changed since" and "it exists already"; 404 is both a missing object and an API
that nobody serves; 429 is both "later" and "the disruption budget is spent".
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.clients.errors import ClientError, Conflict, Denied, Malformed, NotFound, Transient
from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput

_NAME = re.compile("[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_EXCERPT = 300
_FIRST_SERVER_ERROR = 500


class AlreadyThere(Conflict):
    """An object of this name exists: look at it and compare."""


class Expired(Transient):
    """The place in a list or a watch is too old (410): begin anew."""


class BudgetSpent(Transient):
    """A disruption budget allows no eviction now: wait until other pods are ready."""


class Rejected(ClientError):
    """The request was understood and is not valid for this object as it is (400, 422)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What a request is about; without a name it is the list, without a namespace all of them."""

    plural: str
    group: str = ""
    version: str = "v1"
    namespace: str = ""
    name: str = ""
    part: str = ""

    def __post_init__(self) -> None:
        for word in (self.namespace, self.name):
            if word and _NAME.fullmatch(word) is None:
                raise BadInput(f"expected a name of Kubernetes, found {clean(word, 60)!r}")

    @property
    def path(self) -> str:
        """Below the server's address."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{self.namespace}" if self.namespace else ""
        name = f"/{self.name}" if self.name else ""
        return f"{root}{where}/{self.plural}{name}{f'/{self.part}' if self.part else ''}"

    @property
    def kind(self) -> str:
        """As RBAC writes it: `deployments/scale`."""
        return f"{self.plural}/{self.part}" if self.part else self.plural

    def __str__(self) -> str:
        named = f"{self.kind} {self.name}" if self.name else self.kind
        return f"{named} in namespace {self.namespace}" if self.namespace else named

    def permission(self, verb: str) -> str:
        """The grant that a request needs, in words."""
        group = f" of API group {self.group}" if self.group else ""
        name = f" named {self.name}" if self.name else ""
        where = f"namespace {self.namespace}" if self.namespace else "the whole cluster"
        return f"the verb {verb} on {self.kind}{group}{name} in {where}"


@dataclass(frozen=True, slots=True)
class _Refusal:
    verb: str
    resource: Resource
    identity: str
    text: str
    said: dict[str, Any]

    def unknown(self) -> ClientError:
        return Denied(f"{self.resource}: the {self.identity} identity is not known: {self.text}")

    def forbidden(self) -> ClientError:
        if "exceeded quota" in self.text:
            return Rejected(f"{self.resource}: the namespace's quota forbids it: {self.text}")
        grant = f"grant {self.resource.permission(self.verb)} to the {self.identity} identity"
        return Denied(f"{self.resource}: refused: {grant}: {self.text}")

    def absent(self) -> ClientError:
        if self.said:
            return NotFound(f"{self.resource}: there is none: {self.text}")
        api = f"{self.resource.group or 'core'}/{self.resource.version}"
        return NotFound(f"{self.resource}: the API {api} is not served by this cluster")

    def contradicted(self) -> ClientError:
        if self.said.get("reason") == "AlreadyExists":
            return AlreadyThere(f"{self.resource}: exists already: {self.text}")
        return Conflict(f"{self.resource}: it changed since it was read: {self.text}")

    def expired(self) -> ClientError:
        return Expired(f"{self.resource}: the place is too old: {self.text}")

    def invalid(self) -> ClientError:
        return Rejected(f"{self.resource}: refused to {self.verb} it as invalid: {self.text}")

    def too_many(self) -> ClientError:
        if _names_budget(self.said):
            return BudgetSpent(f"{self.resource}: its disruption budget is spent: {self.text}")
        return Transient(f"{self.resource}: too many requests, said the API server: {self.text}")


_BY_STATUS: Mapping[int, Callable[[_Refusal], ClientError]] = {
    400: _Refusal.invalid,
    401: _Refusal.unknown,
    403: _Refusal.forbidden,
    404: _Refusal.absent,
    409: _Refusal.contradicted,
    410: _Refusal.expired,
    422: _Refusal.invalid,
    429: _Refusal.too_many,
}


def refusal(status: int, body: bytes, verb: str, resource: Resource, identity: str) -> ClientError:
    """Our error for an answer that is no success."""
    said = _status(body)
    message = said.get("message")
    text = clean(message, _EXCERPT) if isinstance(message, str) else _excerpt(body)
    if status in _BY_STATUS:
        return _BY_STATUS[status](_Refusal(verb, resource, identity, text, said))
    if status >= _FIRST_SERVER_ERROR:
        return Transient(f"{resource}: the API server answered {status}: {text}")
    return Malformed(f"{resource}: expected an answer, found status {status}: {text}")


def _status(body: bytes) -> dict[str, Any]:
    """The Status in a body, or nothing: proxies answer HTML and plain text."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _names_budget(said: dict[str, Any]) -> bool:
    details = said.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return isinstance(causes, list) and any(
        isinstance(each, dict) and each.get("reason") == "DisruptionBudget" for each in causes
    )


def _excerpt(body: bytes) -> str:
    return clean(body[:_EXCERPT].decode("utf-8", "replace"), _EXCERPT)
