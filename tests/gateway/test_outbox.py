"""The outbox: who is next, and that two gateways never hold the same row."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployments.gateway.outbox import P0, P3, Outbox, Row
from tasks.work import incidents, responder

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]


def order(
    incident: str,
    *,
    priority: int = 2,
    component: str = "",
    cap: int = 0,
    deployment: str = incidents.INCIDENT,
) -> str:
    """Order a run; its key."""
    key = f"{incident}:{deployment}:{time.monotonic_ns()}"
    with responder.connection() as connection:
        assert incidents.enqueue_in(
            connection, incident, deployment, key, priority=priority, component=component, cap=cap
        )
    return key


def taken(outbox: Outbox, least_urgent: int = P3) -> list[str]:
    """The incidents of all rows that may be taken now, in their order."""
    found = []
    while (row := outbox.take(least_urgent)) is not None:
        found.append(row.incident)
    return found


def age(incident: str, minutes: int) -> None:
    with responder.connection() as connection:
        connection.execute(
            "UPDATE dispatches SET enqueued_at = enqueued_at - make_interval(mins => %s)"
            " WHERE incident = %s",
            (minutes, incident),
        )


def taken_row(outbox: Outbox) -> Row:
    row = outbox.take()
    assert row is not None
    return row


def test_the_most_urgent_row_is_taken_first_and_of_a_class_the_oldest() -> None:
    for incident, priority in [("d", 3), ("c", 2), ("b1", 1), ("c2", 2), ("a", 0), ("b2", 1)]:
        order(incident, priority=priority)
    assert taken(Outbox("one")) == ["a", "b1", "b2", "c", "c2", "d"]


def test_p0_does_not_wait_behind_a_queue_of_old_p2() -> None:
    for number in range(50):
        order(f"storm-{number}", priority=2)
        age(f"storm-{number}", 60)
    order("urgent", priority=0)
    assert taken_row(Outbox("one")).incident == "urgent"


def test_a_row_that_waited_over_ten_minutes_counts_as_one_class_more_urgent() -> None:
    order("old P3", priority=3)
    order("old P2", priority=2)
    order("P1", priority=1)
    age("old P3", 11)
    age("old P2", 11)
    order("young P2", priority=2)
    order("P0", priority=0)
    assert taken(Outbox("one")) == ["P0", "old P2", "P1", "old P3", "young P2"]


def test_who_asks_for_urgent_rows_only_gets_no_others() -> None:
    order("P1", priority=1)
    age("P1", 60)
    order("P0", priority=0)
    assert taken(Outbox("one"), least_urgent=P0) == ["P0"]
    assert taken(Outbox("one")) == ["P1"]


def test_of_one_component_at_most_its_cap_is_leased_and_others_pass_it_by() -> None:
    for number in range(4):
        order(f"api-{number}", priority=1, component="api", cap=2)
    order("database", priority=2, component="database", cap=1)
    order("of no component", priority=3, cap=1)
    outbox = Outbox("one")
    assert taken(outbox) == ["api-0", "api-1", "database", "of no component"]


def test_a_finished_row_a_handed_back_one_and_a_dead_gateways_free_their_place() -> None:
    for number in range(5):
        order(f"api-{number}", component="api", cap=1)
    outbox = Outbox("one")
    first = taken_row(outbox)
    assert outbox.take() is None
    outbox.finish(first, "Completed")
    second = taken_row(outbox)
    outbox.release(second, 60)
    third = taken_row(Outbox("dies", lease_seconds=0.2))
    assert [first.incident, second.incident, third.incident] == ["api-0", "api-1", "api-2"]
    assert outbox.take() is None
    time.sleep(0.3)
    assert taken_row(outbox).incident == "api-2"


def test_rows_of_one_incident_are_taken_in_order_and_escalations_wait_for_nobody() -> None:
    order("x", priority=2)
    order("x", priority=0, deployment=incidents.RESUME)
    order("x", priority=3, deployment=incidents.ESCALATION)
    outbox = Outbox("one")
    rows = [taken_row(outbox), taken_row(outbox)]
    assert [row.deployment for row in rows] == [incidents.INCIDENT, incidents.ESCALATION]
    assert outbox.take() is None
    outbox.finish(rows[0], "Suspended")
    assert taken_row(outbox).deployment == incidents.RESUME


def test_two_gateways_that_take_at_once_get_every_row_once_and_never_pass_a_cap() -> None:
    for number in range(60):
        order(f"free-{number}")
    for number in range(20):
        order(f"capped-{number}", priority=1, component="api", cap=3)
    together = threading.Barrier(4)

    def work(name: int) -> list[str]:
        together.wait()
        return taken(Outbox(f"gateway-{name}"))

    with ThreadPoolExecutor(4) as pool:
        found = [incident for one in pool.map(work, range(4)) for incident in one]
    assert sorted(found) == sorted(
        [f"free-{number}" for number in range(60)] + [f"capped-{number}" for number in range(3)]
    )


def test_a_lost_lease_lets_nothing_be_recorded_any_more() -> None:
    order("x")
    late, next_one = Outbox("late", lease_seconds=0.1), Outbox("next")
    lost = taken_row(late)
    time.sleep(0.2)
    held = taken_row(next_one)
    assert held.id == lost.id
    assert late.extend([lost.id]) == set()
    assert not late.record_run(lost, "6a7ab3c6-0000-4000-8000-000000000000")
    late.release(lost)
    late.finish(lost, "Completed")
    assert next_one.extend([held.id]) == {held.id}
    assert next_one.take() is None


@pytest.mark.parametrize("cap", [0, 1])
def test_taking_costs_little_with_2000_open_rows(cap: int) -> None:
    """With a cap the whole queue of one component is passed by; the next one is behind it."""
    with responder.connection() as connection:
        connection.execute(
            "INSERT INTO dispatches (incident, deployment, key, priority, component, cap)"
            " SELECT 'i' || n, 'incident/incident', 'k' || n, 2, 'storm', %s"
            " FROM generate_series(1, 2000) AS n",
            (cap,),
        )
    for number in range(20):
        order(f"other-{number}", priority=2)
    outbox = Outbox("one")
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        assert outbox.take() is not None
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.005
