"""Limits on the tags of tasks: not asked for one by one where none is, obeyed where one is."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.gateway.prefect_api import PrefectApi
from deployments.gateway.tag_limits import TagLimits
from tests.gateway.conftest import Prefect
from tests.gateway.dispatching import Dispatching, declare, results
from tests.gateway.sample_flows import TAG
from tests.gateway.stack import until_true

pytestmark = pytest.mark.flows

Limit = Callable[[str], None]


@pytest.fixture
def limit(prefect: Prefect) -> Iterator[Limit]:
    """Makes a limit of one, whose slot is taken; all are gone afterwards."""
    made: list[str] = []

    def make(name: str) -> None:
        body = {"name": name, "limit": 1, "active_slots": 1}
        answer = httpx.post(f"{prefect.url}/v2/concurrency_limits/", json=body)
        made.append(answer.raise_for_status().json()["id"])

    yield make
    for each in made:
        httpx.delete(f"{prefect.url}/v2/concurrency_limits/{each}").raise_for_status()


@task(tags={"tests:full"}, persist_result=False)
def tagged() -> float:
    return time.monotonic()


@flow(persist_result=False)
def runs_the_tagged_task() -> float:
    return tagged()


def test_task_takes_the_word_that_there_are_no_limits(prefect: Prefect, limit: Limit) -> None:
    limit("tag:tests:full")
    told = TagLimits.of_imported_tasks()
    with temporary_settings({PREFECT_API_URL: prefect.url}):
        told.are_none()
        assert runs_the_tagged_task() > 0  # else it would wait for the slot for ever


def test_word_is_of_the_tags_of_the_real_checks() -> None:
    from flows.triage import triage  # noqa: PLC0415  only now are its tasks there

    assert triage.name
    assert frozenset({"tag:runbook:triage.api-health"}) in TagLimits.of_imported_tasks().names


def test_only_limits_on_tags_count(prefect: Prefect, limit: Limit) -> None:
    with PrefectApi(prefect.url) as api:
        assert not api.has_no_tag_limits  # nobody has asked yet
        limit("a limit of something else")
        api.probe()
        assert api.has_no_tag_limits
        limit("tag:tests:full")
        with PrefectApi(prefect.url) as later:
            later.probe()
            assert not later.has_no_tag_limits


def test_limit_made_while_the_gateway_runs_is_obeyed_and_its_end_is_seen(
    dispatching: Dispatching, prefect: Prefect, limit: Limit
) -> None:
    dispatcher, _ = dispatching
    limit(f"tag:{TAG}")
    until_true(lambda: not dispatcher._api.has_no_tag_limits, 30)
    incident = declare("quick")
    time.sleep(3)  # a run without a limit ends within one
    assert results(incident) == [None]
    url = f"{prefect.url}/v2/concurrency_limits/tag:{TAG}"
    httpx.patch(url, json={"active": False}).raise_for_status()
    until_true(lambda: results(incident) == ["Completed"], 60)
