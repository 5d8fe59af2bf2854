"""Dispatchers that stop, and children that die or stand still: each test has its own."""

import os
import signal
import socket
import time

import httpx
import pytest

from deployments.gateway.app import build_app
from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.outbox import LEASE_SECONDS
from deployments.gateway.prefect_api import PrefectApi
from deployments.gateway.ticker import Ticker
from tasks.domain.facts import FactKind
from tasks.work import journal, responder
from tests.gateway.conftest import Prefect
from tests.gateway.dispatching import (
    Dispatching,
    declare,
    declare_urgent,
    facts,
    is_closed,
    results,
    runs_of,
)
from tests.gateway.sample_flows import NAPS, SLEEPS
from tests.gateway.stack import served, until_true

pytestmark = [pytest.mark.flows, pytest.mark.usefixtures("dispatching")]


@pytest.mark.slow
def test_handed_back_run_is_taken_by_another_gateway_at_once_and_not_after_the_lease(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    first, _ = dispatching
    incident = declare(SLEEPS)
    until_true(lambda: len(facts(incident, FactKind.CHECK_OBSERVED)) == 1)
    with PrefectApi(prefect.url) as api:
        second = Dispatcher(
            api, children=1, modules=["tests.gateway.sample_flows"], stop_grace_seconds=0.5
        )
        second.start()
        try:
            until_true(lambda: second.warm_children == 1, 60)
            first.stop()
            stopped = time.monotonic()
            until_true(lambda: is_closed(incident), LEASE_SECONDS)
            assert time.monotonic() - stopped < LEASE_SECONDS / 3
            # the run closes its incident before its end is recorded
            until_true(lambda: results(incident) == ["Completed"], LEASE_SECONDS)
        finally:
            second.stop()
    assert len(facts(incident, FactKind.RUN_STARTED)) == 2
    assert len(facts(incident, FactKind.CHECK_OBSERVED)) == 1


def test_gateway_is_complete_only_while_both_threads_and_a_child_live(
    dispatching: Dispatching,
) -> None:
    dispatcher, _ = dispatching
    ticker = Ticker()
    app = build_app()
    app.state.dispatcher, app.state.ticker = dispatcher, ticker
    with served(app) as url:

        def missing() -> set[str]:
            answer = httpx.get(f"{url}/readyz")
            lacks = {name for name, there in answer.json()["ready"].items() if not there}
            assert answer.status_code == 200  # alerts are stored all the while
            assert answer.json()["complete"] is (not lacks)
            return lacks

        assert missing() == {"ticker"}
        ticker.start()
        assert missing() == set()
        ticker.stop()
        dispatcher.stop()
        assert missing() == {"ticker", "dispatcher", "children"}


def test_stopped_dispatcher_hands_its_row_back_and_ends_its_children(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    dispatcher, _ = dispatching
    incident = declare(SLEEPS)
    until_true(lambda: len(facts(incident, FactKind.CHECK_OBSERVED)) == 1)
    pids = dispatcher.child_pids
    dispatcher.stop()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert results(incident) == [None]
    assert [run["state"] for run in runs_of(prefect.url, incident)] == ["Crashed"]
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT holder, lease_until <= clock_timestamp() FROM dispatches"
        ).fetchone()
    assert row == (None, True)


def test_one_child_of_two_is_kept_for_what_is_urgent(dispatching: Dispatching) -> None:
    assert dispatching
    slow = [declare(SLEEPS), declare("quick")]
    until_true(lambda: len(facts(slow[0], FactKind.CHECK_OBSERVED)) == 1)
    urgent = declare_urgent("quick")
    until_true(lambda: results(urgent) == ["Completed"])
    assert results(slow[1]) == [None]


@pytest.mark.slow
def test_child_that_cannot_be_reached_any_more_is_replaced_and_its_order_carried_out(
    dispatching: Dispatching,
) -> None:
    dispatcher, _ = dispatching
    pids = dispatcher.child_pids
    for child in dispatcher._children:
        os.kill(child.process.pid, signal.SIGSTOP)  # so that it cannot say that it ends
        child.channel.shutdown(socket.SHUT_WR)
    incident = declare("quick")
    until_true(lambda: results(incident) == ["Completed"], 60)
    assert not set(pids) & set(dispatcher.child_pids)


def test_killed_child_is_replaced_and_the_incident_goes_on_in_another(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    dispatcher, _ = dispatching
    incident = declare(SLEEPS)
    until_true(lambda: len(facts(incident, FactKind.CHECK_OBSERVED)) == 1)
    first = facts(incident, FactKind.RUN_STARTED)[0].data["pid"]
    os.kill(first, signal.SIGKILL)
    until_true(lambda: is_closed(incident), 30)
    until_true(lambda: results(incident) == ["Completed"])
    assert sorted(run["state"] for run in runs_of(prefect.url, incident)) == [
        "Completed",
        "Crashed",
    ]
    assert len(facts(incident, FactKind.RUN_STARTED)) == 2
    assert len(facts(incident, FactKind.CHECK_OBSERVED)) == 1
    until_true(lambda: dispatcher.warm_children == 2, 30)
    assert first not in dispatcher.child_pids


@pytest.mark.slow
def test_child_whose_order_was_taken_over_records_nothing_more(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    dispatcher, _ = dispatching
    incident = declare(NAPS)
    until_true(lambda: len(facts(incident, FactKind.CHECK_OBSERVED)) == 1)
    with responder.connection() as connection:
        connection.execute(
            "UPDATE dispatches SET holder = 'another gateway', lease_until = now() + '1 hour'"
            " WHERE incident = %s",
            (incident,),
        )
    recorded = len(journal.read(incident).facts)
    until_true(lambda: runs_of(prefect.url, incident)[0]["state"] == "Failed")
    next_one = declare("quick")
    until_true(lambda: results(next_one) == ["Completed"], 40)
    assert len(journal.read(incident).facts) == recorded
    assert results(incident) == [None]
    assert dispatcher.is_alive
