"""Two real gateways over one PostgreSQL and one Prefect server, when one of them fails."""

import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tasks.domain.facts import FactKind
from tasks.work import journal, responder
from tests.gateway.stack import until_true
from tests.gateway.storm import (
    Gateway,
    Parts,
    Sender,
    all_done,
    check_nothing_lost_nothing_doubled,
    notification,
    parts,
    stored,
)

pytestmark = [pytest.mark.slow, pytest.mark.flows, pytest.mark.timeout(400)]

INCIDENTS = 30


@pytest.fixture(scope="module")
def mortal() -> Iterator[Parts]:
    with pytest.MonkeyPatch.context() as environment, parts(environment) as mortal:
        yield mortal


@pytest.fixture
def gateways(mortal: Parts) -> Iterator[tuple[Gateway, Gateway]]:
    pair = mortal.start_gateway("first"), mortal.start_gateway("second")
    for gateway in pair:
        gateway.await_warm()
    yield pair
    for gateway in pair:
        gateway.process.kill()


def send_to_both(gateways: tuple[Gateway, Gateway], bodies: list[bytes]) -> None:
    """As an HA pair of Alertmanagers does: everything to both, at the same time."""
    senders = [Sender(gateway.url, bodies, seconds=1, connections=4) for gateway in gateways]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def starts() -> list[tuple[str, int, float]]:
    """Incident, process and time of every start of a run."""
    facts = journal.facts_of_kinds((FactKind.RUN_STARTED,))
    return [(fact.incident, int(fact.data["pid"]), fact.at.timestamp()) for fact in facts]


def at_work(gateway: Gateway) -> set[str]:
    """Incidents whose runs this gateway's children have started and that have no action yet."""
    pids = {child.pid for child in gateway.children()}
    return {name for name, pid, _ in starts() if pid in pids} - set(stored().actions)


def test_survivor_takes_over_what_a_killed_gateway_had_begun_and_nothing_is_done_twice(
    gateways: tuple[Gateway, Gateway],
) -> None:
    first, second = gateways
    bodies = [notification(number, number) for number in range(INCIDENTS)]
    pids = {child.pid for child in first.children()}, {child.pid for child in second.children()}
    send_to_both(gateways, bodies)
    until_true(lambda: len(stored().actions) >= INCIDENTS // 4 and at_work(first) != set(), 60)
    first.kill()
    killed = time.time()
    until_true(all_done, 120)
    found = check_nothing_lost_nothing_doubled(bodies)
    assert len(found.incidents) == INCIDENTS
    by = {pid for _, pid, _ in starts()}
    assert by & pids[0]
    assert by & pids[1]
    late = [at - killed for _, pid, at in starts() if at > killed]
    print(f"{len(late)} runs of the survivor, the last {max(late):.1f} s after the kill")
    assert {pid for _, pid, at in starts() if at > killed} <= pids[1]
    assert len(late) < INCIDENTS


def test_gateway_that_stood_still_with_its_children_changes_nothing_when_it_wakes_up(
    gateways: tuple[Gateway, Gateway],
) -> None:
    first, second = gateways
    children = first.children()
    bodies = [notification(number, number) for number in range(2 * INCIDENTS)]
    send_to_both(gateways, bodies)  # the first half is known from the test before, if it ran
    stopped = [psutil.Process(first.process.popen.pid), *children]
    held = stop_in_the_middle(first, stopped)
    until_true(all_done, 120)
    found = check_nothing_lost_nothing_doubled(bodies)
    theirs = {child.pid for child in second.children()}
    assert held <= {name for name, pid, _ in starts() if pid in theirs}
    facts = newest_fact()
    for process in reversed(stopped):  # the children first: nobody has told them yet
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
    until_true(lambda: not any(is_busy(child) for child in children), 30)
    time.sleep(2)
    assert newest_fact() == facts
    assert check_nothing_lost_nothing_doubled(bodies) == found
    assert second.process.alive
    first.await_warm()


def stop_in_the_middle(gateway: Gateway, processes: list[psutil.Process]) -> set[str]:
    """Stop the processes while an action is under way; the incidents that are held up."""
    while True:
        until_true(lambda: at_work(gateway) != set(), 60)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        held = at_work(gateway)
        if held:
            return held
        for process in processes:  # it was just over
            process.send_signal(signal.SIGCONT)


def is_busy(child: psutil.Process) -> bool:
    """A child that lost its order is killed; one that had none stays."""
    return child.is_running() and child.status() == psutil.STATUS_RUNNING


def newest_fact() -> int:
    with responder.connection() as connection:
        (row,) = connection.execute("SELECT max(seq) FROM journal").fetchall()
    return int(row[0])
