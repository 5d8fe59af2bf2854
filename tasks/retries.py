"""How tasks are tried again. One home; clients have no second loop.

READ looks: tried again while the error is transient. NOTIFY tells: the same, longer, with an
idempotency key at the receiver or in the journal. CHANGE acts: never by Prefect; a change that may
have happened is called again only by a flow that first reads the state.
"""

from typing import Any, TypedDict

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run

from tasks.clients.errors import Transient


class Retry(TypedDict, total=False):
    """Keyword arguments of `@task`."""

    retries: int
    retry_delay_seconds: list[float]
    retry_jitter_factor: float
    retry_condition_fn: Any
    persist_result: bool


def is_transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether the task's error is one that trying again may mend."""
    del task, run
    error = state.result(raise_on_failure=False)
    return isinstance(error, Transient)


READ: Retry = {
    "retries": 3,
    "retry_delay_seconds": [0.2, 1.0, 3.0],
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": is_transient,
    "persist_result": False,
}
NOTIFY: Retry = {
    "retries": 3,
    "retry_delay_seconds": [1.0, 3.0, 10.0],
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": is_transient,
    "persist_result": False,
}
CHANGE: Retry = {"retries": 0, "persist_result": False}


def is_last_try() -> bool:
    """Whether the running NOTIFY task will not be tried again."""
    return int(task_run.run_count) > NOTIFY["retries"]
