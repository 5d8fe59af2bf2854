"""`GET /live`: server-sent events, so that a page knows when it is old.

An event says that an incident has facts up to a place in the journal, and nothing else: the page
fetches itself again, with the rights of whoever looks. One loop per gateway asks the journal once
a second while anybody listens, however many do.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from deployments.gateway.answers import refusal
from deployments.gateway.people import Reader
from tasks.clients.errors import Transient
from tasks.work import journal_places

log = logging.getLogger("gateway.live")

router = APIRouter()

LISTENERS = 200
_LOOK_SECONDS = 1.0
_HEARTBEAT_SECONDS = 15.0
_LONGEST_SECONDS = 600.0  # then the browser comes again, and is asked again who it is
_INCIDENTS_AT_ONCE = 100  # beyond it one event speaks for all
EVERYTHING = ""
"""In the place of an incident: more has moved than is worth listing."""


class Listener:
    """One page that waits. What it has not been told yet is kept as the newest place of each."""

    def __init__(self, incident: str) -> None:
        self._incident = incident
        self._pending: dict[str, int] = {}
        self._woken = asyncio.Event()

    def hear(self, moved: Mapping[str, int]) -> None:
        """Take note of what concerns it."""
        about = (
            moved
            if not self._incident
            else {name: seq for name, seq in moved.items() if name == self._incident}
        )
        if not about:
            return
        self._pending |= about
        if len(self._pending) > _INCIDENTS_AT_ONCE:
            self._pending = {EVERYTHING: max(self._pending.values())}
        self._woken.set()

    def wake(self) -> None:
        """End its wait: it is to look whether it may go on."""
        self._woken.set()

    async def wait(self, seconds: float) -> dict[str, int]:
        """What has moved, as soon as something has; empty after so many seconds without."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()
        pending, self._pending = self._pending, {}
        return pending


class Live:
    """All listeners of one gateway, and the one loop that watches the journal for them.

    Lives in the event loop; only that touches it.
    """

    def __init__(self, limit: int = LISTENERS) -> None:
        self.limit = limit
        self._listeners: set[Listener] = set()
        self._watching: asyncio.Task[None] | None = None
        self.is_over = False

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return len(self._listeners)

    def join(self, incident: str) -> Listener | None:
        """A listener more; None when there are as many as may be, or the gateway stops."""
        if self.is_over or len(self._listeners) >= self.limit:
            return None
        listener = Listener(incident)
        self._listeners.add(listener)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="live")
        return listener

    def leave(self, listener: Listener) -> None:
        """A listener less; without any nobody watches."""
        self._listeners.discard(listener)
        if not self._listeners and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def end(self) -> None:
        """Let every stream end now: the server waits for them before it stops."""
        self.is_over = True
        for listener in self._listeners:
            listener.wake()

    async def _watch(self) -> None:
        seen: int | None = None
        while True:
            try:
                if seen is None:
                    seen = await run_in_threadpool(journal_places.head)
                moved = await run_in_threadpool(journal_places.moved_since, seen)
            except Transient as error:
                log.warning("live waits: %s", error)
            except Exception:  # whatever it is: a page that is never told shows an old plan
                log.exception("live goes on after an error that nobody foresaw")
            else:
                seen = max([seen, *moved.values()])
                for listener in self._listeners:
                    listener.hear(moved)
            await asyncio.sleep(_LOOK_SECONDS)


class _Stream(StreamingResponse):
    """Gives its listener's place back, however it ends, even before it has begun."""

    def __init__(self, live: Live, listener: Listener, seen: int) -> None:
        super().__init__(
            _events(live, listener, seen),
            media_type="text/event-stream",
            headers={
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "X-Content-Type-Options": "nosniff",
            },
        )
        self._live = live
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.leave(self._listener)


@router.get("/live")
async def show_live(
    request: Request,
    _: Reader,
    incident: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = "",
) -> Response:
    """A stream of `{"incident", "seq"}`: first where the journal is now, then what moves."""
    live: Live = request.app.state.live
    listener = live.join(incident)
    if listener is None:
        return refusal(503, "too many listeners", f"at most {live.limit}", "as many", "reload")
    try:
        seen = await run_in_threadpool(_place_of, incident)
    except BaseException:
        live.leave(listener)
        raise
    return _Stream(live, listener, seen)


def _place_of(incident: str) -> int:
    if not incident:
        return journal_places.head()
    return journal_places.newest_of([incident]).get(incident, journal_places.NOWHERE)


async def _events(live: Live, listener: Listener, seen: int) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    until = clock() + _LONGEST_SECONDS
    yield f"retry: 2000\n{_event('', seen)}"
    while not live.is_over and clock() < until:
        moved = await listener.wait(_HEARTBEAT_SECONDS)
        if moved:
            yield "".join(_event(name, seq) for name, seq in moved.items())
        elif not live.is_over:
            yield ": still here\n\n"


def _event(incident: str, seq: int) -> str:
    return f"data: {json.dumps({'incident': incident, 'seq': seq})}\n\n"
