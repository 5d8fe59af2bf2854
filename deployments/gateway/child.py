"""A warm child: a process with Prefect and the flows imported that runs one flow at a time.

    python -m deployments.gateway.child SOCKET_FD PARENT_PID MODULE...

Flows run in its main thread: only there does SIGTERM end them, with the run marked Crashed. It
never outlives the gateway, and records nothing once another one has taken its order over. Orders
and answers are lines of JSON on one socket.
"""

import copy
import ctypes
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import FlowRun, OrchestrationResult, State, StateDetails
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import SyncClientContext
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import run_flow
from prefect.settings import (
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.settings.legacy import Setting
from prefect.states import Pending

from deployments.gateway.collecting import collect_rarely
from deployments.gateway.prefect_api import CLAIMED
from deployments.gateway.suspensions import Suspensions
from deployments.gateway.tag_limits import TagLimits
from tasks.clients.kubernetes_identity import is_configured
from tasks.domain.redaction import Redactor
from tasks.settings import settings
from tasks.work import responder
from tasks.work.claims import Claim, working_under
from tasks.work.heap import share_one_arena
from tasks.work.redaction import redact_all_logs, secrets_of

_PR_SET_PDEATHSIG = 1
_RETRY_SECONDS = 1.0
_LATE = ("prefect.task_engine",)
"""What Prefect imports in the first run of a process."""

log = logging.getLogger("gateway.child")


def main(arguments: list[str]) -> None:
    """Warm up, say so, and run what is ordered until the socket closes."""
    descriptor, parent, modules = int(arguments[0]), int(arguments[1]), arguments[2:]
    _die_with(parent)
    share_one_arena()  # a run comes and goes with dozens of threads
    redact_all_logs(Redactor(secrets_of(settings())))  # those that go to Prefect's server too
    with (
        socket.socket(fileno=descriptor) as channel,
        channel.makefile("r", encoding="utf-8") as orders,
        temporary_settings(_prefect_settings()),
    ):
        _load_all(modules)
        _wait_for_prefect()
        with SyncClientContext.get_or_create() as kept:  # the engine takes it, and its connection
            _rehearse_with(kept.client)
            tag_limits = TagLimits.of_imported_tasks()
            suspensions = Suspensions()
            collect_rarely()
            _say(channel, {"ready": os.getpid()})
            for line in orders:
                order = json.loads(line)
                if order["has_no_tag_limits"]:
                    tag_limits.are_none()
                with working_under(Claim(order["row"], order["holder"], order["run"])):
                    answer = _run(kept.client, suspensions, order)
                _say(channel, {"ended": order["run"], **answer})
    responder.close()


def _prefect_settings() -> dict[Setting, Any]:
    """What this process changes of Prefect's settings."""
    # Our lease replaces the heartbeat, which costs a second at the end of every flow.
    changed: dict[Setting, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if PREFECT_API_URL.value().startswith("http://"):
        # Each of a run's clients would load all the certificates that nobody shows it.
        changed[PREFECT_API_TLS_INSECURE_SKIP_VERIFY] = True
    return changed


def _run(
    client: SyncPrefectClient, suspensions: Suspensions, order: Mapping[str, Any]
) -> dict[str, Any]:
    """Claim the run and execute it: how the claim was answered and the state at the end."""
    run = UUID(order["run"])
    if order["created"] is not None:  # Claimed, and for us alone
        flow_run = FlowRun.model_validate(order["created"])
    else:
        claim = _claim(client, run)
        if claim is not SetStateStatus.ACCEPT:
            return {"claim": claim.value}
        flow_run = client.read_flow_run(run)
    flow_function = _flow(order["entrypoint"])
    ended = None
    try:
        with suspensions.watched(flow_run) as watched:
            ended = run_flow(flow_function, flow_run=watched, return_type="state")
    except (Pause, Abort) as stopped:  # BaseException in Prefect; the run's state says the rest
        log.info("run stopped: %s", type(stopped).__name__)
    state = client.read_flow_run(run).state
    return {
        "claim": SetStateStatus.ACCEPT.value,
        "state": state.type.value if state else "",
        "name": (state.name or "") if state else "",
        "away": isinstance(ended, State) and _was_away(ended),
    }


def _claim(client: SyncPrefectClient, run: UUID) -> SetStateStatus:
    # A run that once waited for a slot is scheduled half a minute ahead: the time is now.
    due = StateDetails(scheduled_time=datetime.now(UTC))
    claimed: State[Any] = Pending(name=CLAIMED, state_details=due)
    answer: OrchestrationResult[Any] = client.set_flow_run_state(run, claimed)
    return answer.status


def _was_away(ended: State[Any]) -> bool:
    """Whether the run failed since the responder's own database or Prefect did not answer.

    Errors of other systems are translated by our clients: a bare one of HTTP is Prefect's.
    """
    cause = ended.result(raise_on_failure=False) if ended.is_failed() else None
    return isinstance(cause, (responder.ResponderAway, httpx.HTTPError))


def _flow(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.rpartition(".")
    found = getattr(import_module(module), name)
    if not isinstance(found, Flow):
        raise TypeError(f"expected a flow at {entrypoint}, found {type(found).__name__}")
    named = copy.copy(found)
    named.flow_run_name = None  # the gateway has named the run when it made it
    return named


def _load_all(modules: list[str]) -> None:
    for module in (*_LATE, *modules):
        import_module(module)
    if is_configured(settings().kubernetes):
        import_module("kubernetes.config")  # a third of a second, which no triage should wait for
    with responder.connection() as connection:
        connection.execute("SELECT 1")


def _wait_for_prefect() -> None:
    with get_client(sync_client=True) as client:
        while (reason := client.api_healthcheck()) is not None:
            log.warning("child waits for Prefect's API: %s", type(reason).__name__)
            time.sleep(_RETRY_SECONDS)


def _rehearse_with(client: SyncPrefectClient) -> None:
    rehearsal = client.create_flow_run(_rehearse, name="warm-up", state=Pending(name=CLAIMED))
    run_flow(_rehearse, flow_run=rehearsal, return_type="state")
    client.delete_flow_run(rehearsal.id)


@task(persist_result=False)
def _step() -> None:
    """Nothing: the way there is what gets warm."""


@flow(name="warm-up", persist_result=False)
def _rehearse() -> None:
    """The first run of a process costs a second more than the second: this is the first."""
    _step.submit().result()


def _die_with(parent: int) -> None:
    """SIGKILL as soon as the parent is gone: nothing is changed without a gateway that knows."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        sys.exit(1)


def _say(channel: socket.socket, message: Mapping[str, Any]) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
