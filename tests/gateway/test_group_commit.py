"""Many requests, one commit: who is answered what, and when. The store is the test's own."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deployments.gateway import group_commit
from deployments.gateway.group_commit import GroupCommit, Overloaded, Spooled
from deployments.gateway.spool import Spool, SpoolFull
from tasks.clients.errors import Transient
from tasks.domain.alertmanager import parse
from tasks.work.intake import Received, Taken


def received(number: int, size: int = 0) -> Received:
    padding = " " * size
    body = b'{"version": "4", "alerts": [], "number": %d}%s' % (number, padding.encode())
    return Received(body, parse(body), "test")


def number_of(one: Received) -> int:
    return int(one.body.rpartition(b": ")[2].rstrip(b"} "))


@dataclass
class Store:
    """Takes batches as PostgreSQL would: it can be slow, away, or wrong."""

    batches: list[list[int]] = field(default_factory=list)
    away: bool = False
    error: Exception | None = None
    entered: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self, batch: Sequence[Received]) -> list[Taken]:
        self.entered += 1
        assert self.gate.wait(30)
        if self.away:
            raise Transient("away")
        if self.error is not None:
            raise self.error
        self.batches.append([number_of(one) for one in batch])
        return [Taken(hashlib.sha256(one.body).hexdigest()) for one in batch]

    @property
    def taken(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def outcome(group: GroupCommit, number: int) -> object:
    (answer,) = await asyncio.gather(group.commit(received(number)), return_exceptions=True)
    return answer


async def stopped(group: GroupCommit) -> None:
    await asyncio.to_thread(group.stop)


def test_what_comes_while_one_commit_runs_shares_the_next() -> None:
    async def scenario() -> None:
        store = Store()
        store.gate.clear()
        group = GroupCommit(store)
        group.start()
        first = asyncio.create_task(group.commit(received(0)))
        await until(lambda: store.entered == 1)
        rest = [asyncio.create_task(group.commit(received(n))) for n in range(1, 51)]
        await until(lambda: group.waiting == 50)
        assert not any(task.done() for task in (first, *rest))  # nobody before the commit
        store.gate.set()
        answers = await asyncio.gather(first, *rest)
        assert store.batches == [[0], list(range(1, 51))]
        assert [answer.digest for answer in answers] == [
            hashlib.sha256(received(n).body).hexdigest() for n in range(51)
        ]
        await stopped(group)

    asyncio.run(scenario())


def test_batches_are_bounded_in_number_and_in_bytes() -> None:
    async def scenario(sizes: list[int]) -> list[list[int]]:
        store = Store()
        store.gate.clear()
        group = GroupCommit(store)
        group.start()
        blocker = asyncio.create_task(group.commit(received(0)))
        await until(lambda: store.entered == 1)
        tasks = [asyncio.create_task(group.commit(received(n, s))) for n, s in enumerate(sizes, 1)]
        await until(lambda: group.waiting == len(sizes))
        store.gate.set()
        await asyncio.gather(blocker, *tasks)
        await stopped(group)
        return store.batches[1:]

    assert [len(batch) for batch in asyncio.run(scenario([0] * 300))] == [256, 44]
    megabytes = asyncio.run(scenario([3 * 2**20] * 3))
    assert [len(batch) for batch in megabytes] == [2, 1]


def test_store_that_is_away_is_told_to_everybody_in_the_batch_and_the_next_is_tried() -> None:
    async def scenario() -> None:
        store = Store(away=True)
        group = GroupCommit(store)
        group.start()
        tasks = [group.commit(received(n)) for n in range(5)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(answer) for answer in answers} == {Transient}
        store.away = False
        assert isinstance(await group.commit(received(7)), Taken)
        await stopped(group)
        assert store.taken == [7]

    asyncio.run(scenario())


def test_error_that_nobody_foresaw_reaches_the_senders_and_does_not_end_the_thread() -> None:
    async def scenario() -> None:
        store = Store(error=ValueError("odd"))
        group = GroupCommit(store)
        group.start()
        with pytest.raises(ValueError, match="odd"):
            await group.commit(received(0))
        store.error = None
        await group.commit(received(1))
        assert group.is_alive
        await stopped(group)

    asyncio.run(scenario())


def test_sender_that_has_gone_away_is_stored_all_the_same() -> None:
    async def scenario() -> None:
        store = Store()
        store.gate.clear()
        group = GroupCommit(store)
        group.start()
        tasks = [asyncio.create_task(group.commit(received(n))) for n in range(3)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.sleep(0)
        store.gate.set()
        assert isinstance(await tasks[1], Taken)
        await stopped(group)
        assert sorted(store.taken) == [0, 1, 2]

    asyncio.run(scenario())


def test_stop_stores_what_waits_and_refuses_what_comes() -> None:
    async def scenario() -> None:
        store = Store()
        store.gate.clear()
        group = GroupCommit(store)
        group.start()
        tasks = [asyncio.create_task(group.commit(received(n))) for n in range(600)]
        await until(lambda: group.waiting >= 300)
        stopping = asyncio.create_task(stopped(group))
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded):
            await group.commit(received(999))
        store.gate.set()
        await stopping
        assert {type(answer) for answer in await asyncio.gather(*tasks)} == {Taken}
        assert store.taken == list(range(600))

    asyncio.run(scenario())


def test_stop_while_the_store_is_away_does_not_wait_for_it_once_per_batch() -> None:
    calls = 0

    def slow(batch: Sequence[Received]) -> list[Taken]:
        nonlocal calls
        calls += 1
        time.sleep(0.3)
        raise Transient(f"away for {len(batch)}")

    async def scenario() -> None:
        group = GroupCommit(slow)
        group.start()
        tasks = [asyncio.create_task(group.commit(received(n))) for n in range(2000)]
        await until(lambda: group.waiting > 1000)
        await stopped(group)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(answer) for answer in answers} == {Transient}

    asyncio.run(scenario())
    assert calls <= 3


def test_more_than_may_wait_is_refused_at_once() -> None:
    async def scenario() -> None:
        store = Store()
        store.gate.clear()
        group = GroupCommit(store)
        group.start()
        blocker = asyncio.create_task(group.commit(received(0)))
        await until(lambda: store.entered == 1)
        tasks = [
            asyncio.create_task(group.commit(received(n)))
            for n in range(1, group_commit.WAITING + 1)
        ]
        await until(lambda: group.waiting == group_commit.WAITING)
        with pytest.raises(Overloaded):
            await group.commit(received(9999))
        store.gate.set()
        await asyncio.gather(blocker, *tasks)
        assert isinstance(await group.commit(received(9999)), Taken)
        await stopped(group)

    asyncio.run(scenario())


def test_bytes_that_wait_are_bounded_too() -> None:
    async def scenario() -> None:
        store = Store()
        store.gate.clear()
        group = GroupCommit(store)
        group.start()
        blocker = asyncio.create_task(group.commit(received(0)))
        await until(lambda: store.entered == 1)
        big = received(1, 8 * 2**20)
        tasks = []
        for _ in range(8):
            tasks.append(asyncio.create_task(group.commit(big)))
            await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await group.commit(received(2))
        store.gate.set()
        await asyncio.gather(blocker, *tasks)
        await stopped(group)

    asyncio.run(scenario())


def test_away_store_with_a_spool_is_202_in_order_and_drained_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(away=True)
        spool = Spool.open(tmp_path, 2**20)
        group = GroupCommit(store, spool)
        group.start()
        for n in range(10):
            answer = await group.commit(received(n))
            assert answer == Spooled(hashlib.sha256(received(n).body).hexdigest())
        assert group.spooled == 10
        store.away = False
        for n in range(10, 40):  # the first of these come while the others still wait
            await group.commit(received(n))
        await until(lambda: group.spooled == 0)
        assert store.taken == list(range(40))
        assert isinstance(await group.commit(received(99)), Taken)
        await stopped(group)

    asyncio.run(scenario())


def test_full_spool_refuses_and_what_it_holds_is_still_drained(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(away=True)
        group = GroupCommit(store, Spool.open(tmp_path, 1500))
        waiting = [asyncio.create_task(group.commit(received(n))) for n in range(100)]
        await asyncio.sleep(0)  # so that all of them are one batch, however busy the machine is
        group.start()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} == {SpoolFull}  # all of them at once: none
        kept = 0
        while isinstance(answer := await outcome(group, kept), Spooled):
            kept += 1
        assert isinstance(answer, SpoolFull)
        assert 5 < kept < 20
        store.away = False
        await until(lambda: group.spooled == 0)
        assert store.taken == list(range(kept))
        await group.commit(received(kept))
        await stopped(group)

    asyncio.run(scenario())


def test_what_one_process_has_spooled_the_next_one_drains(tmp_path: Path) -> None:
    async def first() -> None:
        group = GroupCommit(Store(away=True), Spool.open(tmp_path, 2**20))
        group.start()
        for n in range(5):
            await group.commit(received(n))
        await stopped(group)

    async def second(store: Store) -> None:
        group = GroupCommit(store, Spool.open(tmp_path, 2**20))
        group.start()
        await until(lambda: group.spooled == 0)
        await stopped(group)

    asyncio.run(first())
    store = Store()
    asyncio.run(second(store))
    assert store.taken == [0, 1, 2, 3, 4]
