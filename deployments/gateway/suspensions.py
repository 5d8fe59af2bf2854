"""Whether a person has suspended the run in Prefect: it then stops before its next step.

Prefect starts a thread, an event loop and a subscription for each run of a deployment, and lets the
run wait until they are ready: a fifth of the time from an alert to its first check. Here they are
made ready while the child is idle, one for each run; a lost connection is made again meanwhile.
"""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect._flow_run_suspension import mark_flow_run_suspension_requested
from prefect._internal.observers import FlowRunSuspendingObserver
from prefect.client.schemas import FlowRun, State

log = logging.getLogger("gateway.child")

_RETRY_SECONDS = 0.05
_AGAIN_SECONDS = 10.0
"""Between two attempts to listen to a server that is away."""


class Suspensions:
    """Watches over one run after the other; in the thread that runs them."""

    def __init__(self) -> None:
        self._next = _Watch()

    @contextmanager
    def watched(self, run: FlowRun) -> Iterator[FlowRun]:
        """The run as the engine shall get it: without a deployment, for which it would watch too.

        The engine reads the run anew before the flow begins, and has its deployment then.
        """
        watch = self._next
        watch.run.set_result(run.id)
        try:
            yield run.model_copy(update={"deployment_id": None})
        finally:
            watch.over.set_result(None)
            self._next = _Watch()


class _Watch:
    """A thread that is ready to watch over one run."""

    def __init__(self) -> None:
        self.run: Future[UUID] = Future()
        self.over: Future[None] = Future()
        context = contextvars.copy_context()  # Prefect's settings are of the context
        threading.Thread(
            target=context.run, args=(self._watch,), name="suspensions", daemon=True
        ).start()

    def _watch(self) -> None:
        try:
            asyncio.run(self._observe())
        except Exception:  # the run goes on: only a suspension by hand would go unheard
            log.exception("a suspension in Prefect would not be noticed before the next run")

    async def _observe(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_handle)
        run, over = asyncio.wrap_future(self.run), asyncio.wrap_future(self.over)
        while True:
            async with FlowRunSuspendingObserver(on_suspended=self._request) as observer:
                # It never listens again once it has lost its connection: it asks, now and then.
                listening = observer._consumer_task  # noqa: SLF001 - there is no public way to see it
                if listening is not None:
                    await asyncio.wait({run, listening}, return_when=asyncio.FIRST_COMPLETED)
                if run.done():
                    # A run that is gone would be asked for until the process ends.
                    reading = asyncio.create_task(observer.watch_flow_run_id(run.result()))
                    await over
                    reading.cancel()
                    return
            await asyncio.wait({run}, timeout=_AGAIN_SECONDS)

    def _request(self, flow_run_id: UUID, state: State) -> None:
        """Have the engine stop; it may not have begun with the run yet."""
        if self.over.done():  # and what comes now could only meet the same run when it is resumed
            return
        if not mark_flow_run_suspension_requested(flow_run_id, state):
            loop = asyncio.get_running_loop()
            loop.call_later(_RETRY_SECONDS, self._request, flow_run_id, state)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say what went wrong, but for an observer that asked now and then and was ended.

    Prefect takes the end of its own task for an error, with a trace at each.
    """
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)
