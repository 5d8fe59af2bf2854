"""What stands shut down, read from the journal's facts: after failures and odd lines too."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.change_wish import Wanted
from tasks.domain.emergency_plan import (
    START,
    STOP,
    Emergency,
    Part,
    ShutDown,
    Stopped,
    plan_emergency,
    shut_down,
)
from tasks.domain.facts import Fact, FactKind
from tasks.domain.workloads import Kind

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
WORKERS = Stopped(Part.WORKERS, Kind.DEPLOYMENT, "celery-workers", "u1", 4)
API = Stopped(Part.API, Kind.DEPLOYMENT, "rlhf-audit-trail", "u2", 3)
DATABASE = Stopped(Part.DATABASE, Kind.STATEFUL_SET, "postgresql", "u3", 1)


class Journal:
    """Facts of one incident, in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def plan(self, wanted: Wanted, *parts: Stopped) -> None:
        plan = plan_emergency("INC-1", Emergency(wanted, parts), "a test", NOW + timedelta(hours=1))
        self._add(FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": plan.hash})

    def begun(self, step: str) -> None:
        self._add(FactKind.STEP_STARTED, {"step": step})

    def failed(self, step: str) -> None:
        self._add(FactKind.STEP_FAILED, {"step": step, "error": "pods are left"})

    def done(self, step: str, result: object) -> None:
        self._add(FactKind.STEP_DONE, {"step": step, "result": result})

    def standing(self) -> list[Stopped]:
        return [each.stopped for each in shut_down(self.facts)]

    def _add(self, kind: FactKind, data: dict[str, Any]) -> None:
        self.facts.append(Fact(len(self.facts), "INC-1", NOW, kind, "runbook", data))


def test_a_stop_that_has_begun_and_failed_is_started_again_with_what_its_plan_says() -> None:
    journal = Journal()
    journal.plan(Wanted.SHUT_DOWN, WORKERS, API)
    journal.begun(STOP[Part.WORKERS])
    journal.done(STOP[Part.WORKERS], {"stopped": WORKERS.as_json()})
    journal.begun(STOP[Part.API])
    journal.failed(STOP[Part.API])
    assert journal.standing() == [API, WORKERS]


def test_a_start_that_has_only_begun_leaves_the_part_to_the_next_one() -> None:
    journal = Journal()
    journal.plan(Wanted.SHUT_DOWN, DATABASE)
    journal.begun(STOP[Part.DATABASE])
    journal.done(STOP[Part.DATABASE], {"stopped": DATABASE.as_json()})
    journal.plan(Wanted.START, DATABASE)
    journal.begun(START[Part.DATABASE])
    journal.failed(START[Part.DATABASE])
    assert journal.standing() == [DATABASE]
    journal.done(START[Part.DATABASE], {"replicas": 1})
    assert journal.standing() == []


def test_the_newest_record_is_that_of_this_shutdown_and_of_no_older_one() -> None:
    journal = Journal()
    journal.plan(Wanted.SHUT_DOWN, API)
    journal.begun(STOP[Part.API])
    journal.done(STOP[Part.API], {"stopped": API.as_json(), "newest_record": 900})
    assert shut_down(journal.facts) == (ShutDown(API, "INC-1", 900),)
    journal.done(START[Part.API], {"replicas": 3})
    journal.plan(Wanted.SHUT_DOWN, API)
    journal.begun(STOP[Part.API])
    assert shut_down(journal.facts) == (ShutDown(API, "INC-1", None),)


def test_a_result_that_says_nothing_leaves_what_the_plan_says() -> None:
    journal = Journal()
    journal.plan(Wanted.SHUT_DOWN, WORKERS)
    journal.begun(STOP[Part.WORKERS])
    for odd in (None, "gone", {"stopped": {"part": "moon"}}, {"stopped": None}):
        journal.done(STOP[Part.WORKERS], odd)
    assert journal.standing() == [WORKERS]


def test_what_a_stop_would_lose_of_redis_now_is_in_the_plan_and_of_a_start_nothing() -> None:
    expires_at = NOW + timedelta(hours=1)
    stop = plan_emergency(
        "INC-1", Emergency(Wanted.SHUT_DOWN, (API,)), "why", expires_at, "12 tasks queued"
    )
    assert stop.will_be_lost.endswith("what Redis has not saved to a disk: 12 tasks queued")
    start = plan_emergency("INC-1", Emergency(Wanted.START, (API,)), "why", expires_at)
    assert start.destroys_nothing
