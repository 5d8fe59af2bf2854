"""The few calls of Prefect's REST API that the dispatcher needs, without importing Prefect.

Importing it costs seconds and a hundred megabytes, which only the warm children need.
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx

from tasks.clients.errors import Denied, Malformed, NotFound, Transient
from tasks.domain.errors import BadInput

CLAIMED = "Claimed"
"""Name of the Pending state by which a warm child takes a run; a worker's has another name."""

# Short: the thread that waits for an answer is the one that extends leases.
_TIMEOUT = httpx.Timeout(5.0, connect=2.0)
_UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")
_EXCERPT = 200
_LIMITS = 200  # as many as the server gives in one answer
_KNOWN_SECONDS = 10.0  # what was asked longer ago is not known
_NOT_LET_IN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment; `entrypoint` is the module path of its flow function.

    `is_limited`: a claim has to wait for one of the slots that it has.
    """

    id: str
    entrypoint: str
    is_limited: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A flow run and the state it is in, by Prefect's state type (SCHEDULED, RUNNING, ...).

    `created`: all that Prefect said of a run that this call created Claimed; None of any other.
    """

    id: str
    state: str
    name: str
    created: Mapping[str, Any] | None = None


class PrefectApi:
    """A client with one kept-alive connection. Not for several threads.

    `answers` tells how the last call went (may be read from any thread): True when the server
    understood us and let us in.
    """

    def __init__(self, url: str, auth_string: str = "", api_key: str = "") -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        user, _, password = auth_string.partition(":")
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            auth=(user, password) if auth_string else None,
            timeout=_TIMEOUT,
            transport=httpx.HTTPTransport(retries=1),
        )
        self._deployments: dict[str, Deployment] = {}
        self._no_tag_limits_at = -_KNOWN_SECONDS
        self.answers = False

    @classmethod
    def from_environment(cls) -> Self:
        """The server that PREFECT_API_URL names, as Prefect itself would take it."""
        url = os.environ.get("PREFECT_API_URL", "")
        if not url:
            raise BadInput("expected PREFECT_API_URL in the environment, found none: set it")
        return cls(
            url,
            os.environ.get("PREFECT_API_AUTH_STRING", ""),
            os.environ.get("PREFECT_API_KEY", ""),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def deployment(self, name: str) -> Deployment:
        """The deployment `flow/deployment`, as it was when it was last asked for or probed.

        Raises NotFound.
        """
        known = self._deployments.get(name)
        return self._look_up(name) if known is None else known

    def _look_up(self, name: str) -> Deployment:
        found = self._call("GET", f"/deployments/name/{name}")
        known = Deployment(
            id=found["id"],
            entrypoint=found["entrypoint"] or "",
            is_limited=found.get("global_concurrency_limit") is not None,
        )
        self._deployments[name] = known
        return known

    def create_run(
        self,
        deployment: str,
        *,
        key: str,
        name: str,
        tags: Iterable[str],
        parameters: Mapping[str, Any],
        is_claimed: bool = False,
    ) -> Run:
        """The run of this idempotency key: created, or the one that is there.

        Created Scheduled; or `is_claimed`, as a warm child would claim it, where one is waiting for
        it and no slot must be waited for: so the child need not ask for it, nor may a worker take
        it.
        """
        order: dict[str, Any] = {
            "name": name,
            "tags": list(tags),
            "parameters": dict(parameters),
            "idempotency_key": key,
        }
        if is_claimed and not self.deployment(deployment).is_limited:
            order["state"] = {"type": "PENDING", "name": CLAIMED}
        try:
            return self._create(deployment, order)
        except NotFound:  # deployed anew under another id
            self._deployments.pop(deployment, None)
            return self._create(deployment, order)

    def run(self, run: str) -> Run | None:
        """The run as it is now; None when it was deleted."""
        try:
            return _as_run(self._call("GET", f"/flow_runs/{run}"))
        except NotFound:
            return None

    def was_claimed_by_child(self, run: str) -> bool:
        """Whether the last one who took the run was a warm child, not a worker."""
        states = self._call("GET", "/flow_run_states/", params={"flow_run_id": run})
        pending = [state for state in states if state["type"] == "PENDING"]
        newest = max(pending, key=lambda state: str(state["timestamp"]), default=None)
        return newest is not None and newest["name"] == CLAIMED

    def resume(self, run: str) -> bool:
        """Make a suspended run Scheduled; whether Prefect accepted it."""
        answer = self._call("POST", f"/flow_runs/{run}/resume", json={})
        return bool(answer["status"] == "ACCEPT")

    def force_state(self, run: str, state: str, name: str, message: str) -> None:
        """Set a state past all rules: for runs whose process is known to be dead."""
        body = {"state": {"type": state, "name": name, "message": message}, "force": True}
        self._call("POST", f"/flow_runs/{run}/set_state", json=body)

    def end_subflows(self, run: str, state: str, name: str, message: str) -> None:
        """Set a state for all unfinished runs below a run whose process is known to be dead."""
        parents = [run]
        while parents:
            wanted = {
                "parent_flow_run_id": {"any_": parents},
                "state": {"type": {"any_": list(_UNFINISHED)}},
            }
            found = self._call("POST", "/flow_runs/filter", json={"flow_runs": wanted})
            parents = [below["id"] for below in found]
            for below in parents:
                self.force_state(below, state, name, message)

    def probe(self) -> None:
        """Ask whether the server is there and lets us in, and what has changed in its settings.

        Raises ClientError when it is not, or does not.
        """
        limits = self._call("POST", "/v2/concurrency_limits/filter", json={"limit": _LIMITS})
        if len(limits) < _LIMITS and not any(limit["name"].startswith("tag:") for limit in limits):
            self._no_tag_limits_at = time.monotonic()
        for name in tuple(self._deployments):
            try:
                self._look_up(name)
            except NotFound:
                del self._deployments[name]

    @property
    def has_no_tag_limits(self) -> bool:
        """Whether the last probe, just now, found no limit on tasks of any tag."""
        return time.monotonic() - self._no_tag_limits_at < _KNOWN_SECONDS

    def cancelling(self, runs: Iterable[str]) -> set[str]:
        """Which of the runs a person wants to have stopped."""
        wanted = {
            "id": {"any_": list(runs)},
            "state": {"type": {"any_": ["CANCELLING"]}},
        }
        found = self._call("POST", "/flow_runs/filter", json={"flow_runs": wanted})
        return {run["id"] for run in found}

    def _create(self, deployment: str, order: Mapping[str, Any]) -> Run:
        target = self.deployment(deployment).id
        answer = self._ask("POST", f"/deployments/{target}/create_flow_run", json=order)
        found = _json(answer)
        is_new = answer.status_code == HTTPStatus.CREATED and "state" in order
        return replace(_as_run(found), created=found if is_new else None)

    def _call(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401  JSON
        return _json(self._ask(method, path, **content))

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:  # noqa: ANN401  JSON
        try:
            answer = self._http.request(method, path, **content)
        except httpx.TransportError as error:
            self.answers = False
            raise Transient(f"Prefect's API: {type(error).__name__} at {path}") from error
        self.answers = not answer.is_server_error and answer.status_code not in _NOT_LET_IN
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound(f"Prefect's API knows nothing at {path}")
        if answer.status_code in _NOT_LET_IN:
            raise Denied(f"Prefect's API refused us at {path}: check PREFECT_API_AUTH_STRING")
        if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise Transient(f"Prefect's API answered {answer.status_code} at {path}")
        if not answer.is_success:
            raise Malformed(
                f"Prefect's API answered {answer.status_code} at {path}: {answer.text[:_EXCERPT]}"
            )
        return answer


def _json(answer: httpx.Response) -> Any:  # noqa: ANN401  JSON
    try:
        return answer.json()
    except ValueError as error:
        path = answer.request.url.path
        raise Malformed(f"Prefect's API answered no JSON at {path}") from error


def _as_run(value: Mapping[str, Any]) -> Run:
    state = value.get("state") or {}
    return Run(id=value["id"], state=state.get("type", ""), name=state.get("name", ""))
