"""How much one source may send, and that another's flood is not its concern."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.app import build_app
from deployments.gateway.rate_limit import RateLimit
from tasks.settings import settings
from tests.gateway.stack import ALERT_TOKEN, SECOND_ALERT_TOKEN, served


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passed(limit: RateLimit, source: str, times: int) -> int:
    return sum(limit.seconds_until_free(source) == 0 for _ in range(times))


def test_burst_passes_and_what_is_beyond_it_waits_for_its_rate() -> None:
    clock = Clock()
    limit = RateLimit(2.0, 5, clock=clock)
    assert passed(limit, "a", 8) == 5
    assert limit.seconds_until_free("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert passed(limit, "a", 2) == 1


def test_one_source_over_its_rate_does_not_slow_another() -> None:
    limit = RateLimit(1.0, 3, clock=Clock())
    passed(limit, "a", 100)
    assert passed(limit, "b", 3) == 3


def test_silence_fills_the_bucket_to_the_burst_and_no_further() -> None:
    clock = Clock()
    limit = RateLimit(10.0, 4, clock=clock)
    passed(limit, "a", 4)
    clock.now += 1_000_000
    assert passed(limit, "a", 100) == 4


def test_table_is_bounded_and_forgets_the_source_that_was_silent_longest() -> None:
    limit = RateLimit(1.0, 1, sources=3, clock=Clock())
    for source in ("a", "b", "c", "a", "d"):
        limit.seconds_until_free(source)
    assert len(limit) == 3
    assert limit.seconds_until_free("a") > 0
    assert limit.seconds_until_free("b") == 0


def test_clock_that_goes_back_takes_nothing_away() -> None:
    clock = Clock()
    limit = RateLimit(1.0, 2, clock=clock)
    passed(limit, "a", 1)
    clock.now -= 500
    assert passed(limit, "a", 1) == 1


@given(
    rate=st.floats(0.5, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), max_size=60),
)
def test_nobody_ever_gets_more_than_burst_and_rate_allow(
    rate: float, burst: int, gaps: list[float]
) -> None:
    clock = Clock()
    limit = RateLimit(rate, burst, clock=clock)
    began, count = clock.now, 0
    for gap in gaps:
        clock.now += gap
        count += limit.seconds_until_free("a") == 0
        assert count <= burst + rate * (clock.now - began) + 1e-6


@pytest.mark.components
@pytest.mark.usefixtures("database")
def test_source_over_its_rate_hears_503_and_never_429(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_GATEWAY__ALERTS_PER_SECOND", "0.001")
    monkeypatch.setenv("RUNBOOK_GATEWAY__ALERTS_BURST", "3")
    settings.cache_clear()
    body = {"version": "4", "alerts": []}
    with served(build_app()) as url, httpx.Client(base_url=url, timeout=30) as client:
        headers = {"Authorization": f"Bearer {ALERT_TOKEN}"}
        answers = [client.post("/alerts", json=body, headers=headers) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 503, 503]
        assert answers[3].json()["error"] == "too many"
        elsewhere = headers | {"X-Forwarded-For": "198.51.100.7"}  # anybody can write that
        assert client.post("/alerts", json=body, headers=elsewhere).status_code == 503
        stranger = client.post("/alerts", json=body, headers={"Authorization": "Bearer wrong"})
        assert stranger.status_code == 401
        other = {"Authorization": f"Bearer {SECOND_ALERT_TOKEN}"}
        assert client.post("/alerts", json=body, headers=other).status_code == 200


@pytest.mark.components
@pytest.mark.usefixtures("database")
def test_behind_the_trusted_proxy_each_sender_has_a_limit_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBOOK_GATEWAY__ALERTS_PER_SECOND", "0.001")
    monkeypatch.setenv("RUNBOOK_GATEWAY__ALERTS_BURST", "1")
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_USER_HEADER", "X-Forwarded-User")
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_SECRET", "what only the proxy and we know")
    settings.cache_clear()
    token = {"Authorization": f"Bearer {ALERT_TOKEN}"}
    proxied = token | {"X-Runbook-Proxy-Secret": "what only the proxy and we know"}
    with served(build_app()) as url, httpx.Client(base_url=url, timeout=30) as client:

        def status(headers: dict[str, str], seen: str) -> int:
            said = headers | {"X-Forwarded-For": seen}
            body = {"version": "4", "alerts": []}
            return client.post("/alerts", json=body, headers=said).status_code

        assert status(proxied, "203.0.113.1") == 200
        assert status(proxied, "203.0.113.1") == 503
        assert status(proxied, "203.0.113.2") == 200
        assert status(proxied, "203.0.113.9, 203.0.113.2") == 503  # what it was told counts nothing
        assert status(token, "203.0.113.3") == 200  # not the proxy: the address of the socket
        assert status(token, "203.0.113.4") == 503
