"""Server-sent events: who listens hears of new facts, and nobody waits for a gateway to stop."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from deployments.gateway import live
from deployments.gateway.app import build_app
from tasks.domain.facts import FactKind
from tests.gateway import page_stories as stories
from tests.gateway.page_stories import tell
from tests.gateway.stack import served

pytestmark = pytest.mark.components


@contextmanager
def listening(
    gateway: str, token: str, incident: str = ""
) -> Iterator[tuple[httpx.Response, Iterator[dict[str, Any]]]]:
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=gateway, headers=headers, timeout=30) as client,
        client.stream("GET", "/live", params={"incident": incident}) as answer,
    ):
        lines = answer.iter_lines()
        yield answer, (json.loads(line[6:]) for line in lines if line.startswith("data: "))


def test_stranger_hears_nothing(gateway: str) -> None:
    assert httpx.get(f"{gateway}/live").status_code == 401


def test_listener_hears_first_where_the_journal_is_and_then_what_moves(gateway: str) -> None:
    incident = stories.opened()
    with listening(gateway, stories.token("vera", "viewer")) as (answer, events):
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        opened = stories.state_of(incident).facts[-1].seq
        assert next(events) == {"incident": "", "seq": opened}
        time.sleep(0.3)  # the watcher of this gateway has taken its first look
        tell(incident, FactKind.NOTE, {"text": "new"})
        began = time.monotonic()
        assert next(events) == {"incident": incident, "seq": opened + 1}
        assert time.monotonic() - began < 5


def test_listener_to_one_incident_hears_of_no_other(gateway: str) -> None:
    mine, other = stories.opened(), stories.opened(component="cache")
    with listening(gateway, stories.token("vera", "viewer"), mine) as (_, events):
        assert next(events)["seq"] == stories.state_of(mine).facts[-1].seq
        time.sleep(0.3)
        tell(other, FactKind.NOTE, {"text": "theirs"})
        tell(mine, FactKind.NOTE, {"text": "ours"})
        assert next(events) == {"incident": mine, "seq": stories.state_of(mine).facts[-1].seq}


def test_one_listener_too_many_hears_503_and_a_place_given_back_is_anothers(
    database: str,
) -> None:
    assert database
    app = build_app()
    app.state.live = live.Live(limit=2)
    token = stories.token("vera", "viewer")
    with served(app) as gateway:
        with (
            listening(gateway, token),
            listening(gateway, token),
            listening(gateway, token) as (answer, _),
        ):
            assert answer.status_code == 503
        until = time.monotonic() + 10
        while app.state.live.listeners and time.monotonic() < until:
            time.sleep(0.02)
        assert app.state.live.listeners == 0
        with listening(gateway, token) as (answer, _):
            assert answer.status_code == 200


def test_gateway_stops_at_once_while_pages_listen(database: str) -> None:
    assert database
    token = stories.token("vera", "viewer")
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with served(build_app()) as gateway:
            heard = threading.Event()

            def listen() -> None:
                with listening(gateway, token) as (_, events):
                    for _event in events:
                        heard.set()
                ended.set()

            listener = pool.submit(listen)
            assert heard.wait(20)
            began = time.monotonic()
        assert time.monotonic() - began < 3
        listener.result(10)
    assert ended.is_set()


def test_many_listeners_cost_one_look_at_the_journal() -> None:
    async def scene() -> tuple[int, int]:
        hub = live.Live(limit=50)
        joined = [hub.join("") for _ in range(50)]
        tasks = {task for task in asyncio.all_tasks() if task.get_name() == "live"}
        refused = hub.join("")
        assert refused is None
        for listener in joined:
            assert listener is not None
            hub.leave(listener)
        await asyncio.sleep(0)
        watching = {task for task in asyncio.all_tasks() if task.get_name() == "live"}
        return len(tasks), len(watching)

    assert asyncio.run(scene()) == (1, 0)


def test_storm_is_told_to_a_slow_listener_in_one_event() -> None:
    async def scene() -> dict[str, int]:
        listener = live.Listener("")
        for number in range(5000):
            listener.hear({f"INC-{number}": number})
        return await listener.wait(1)

    told = asyncio.run(scene())
    assert len(told) <= 101
    assert max(told.values()) == 4999
    assert live.EVERYTHING in told


def test_silence_is_ended_by_a_heartbeat() -> None:
    assert asyncio.run(live.Listener("").wait(0.01)) == {}
