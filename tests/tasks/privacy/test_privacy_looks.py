"""Looking at the engine: at one that answers nonsense, and at releases that say nonsense."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal
from socket import socket
from typing import Any

import pytest

from deployments.lab.dataset import CANARIES, events
from tasks.domain.database_readings import Unread
from tasks.domain.observation import Health
from tasks.domain.privacy_accounting import Kind
from tasks.domain.privacy_diagnosis import diagnose
from tasks.domain.privacy_readings import PrivacyReadings
from tasks.sections.privacy import PrivacySettings
from tasks.sections.systems import ApiSettings, MetricsSettings
from tasks.settings import Settings
from tasks.work import privacy_checks, privacy_looks
from tasks.work.privacy_ledger import Books, Read, books_of, release_of
from tasks.work.privacy_looks import Site
from tests.clients.loopback import answering, sending

_HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"


def saying(body: bytes, status: bytes = b"200 OK") -> Callable[[socket], None]:
    return sending((_HEAD % len(body)).replace(b"200 OK", status), body)


_NONSENSE = {
    "html": saying(b"<html><h1>It works!</h1></html>"),
    "half": sending(_HEAD % 5000, b'{"total_epsilon": 1'),
    "list": saying(b"[1, 2]"),
    "null": saying(b"null"),
    "nan": saying(
        json.dumps(
            dict.fromkeys(
                ("total_epsilon", "consumed_epsilon", "remaining_epsilon", "epsilon", "scale"),
                float("nan"),
            )
            | {"samples": [0.1] * 10, "records": "all"}
        ).encode()
    ),
    "negative": saying(b'{"total_epsilon": -1, "epsilon": -5, "scale": -1, "total": -4}'),
    "texts": saying(b'{"total_epsilon": "10", "epsilon": "1", "records": ["x"], "halted": "no"}'),
    "error": saying(b"{}", b"500 Internal Server Error"),
    "refused": saying(b"{}", b"403 Forbidden"),
    "silence": sending(),
}


def site_at(port: int) -> Site:
    api = ApiSettings(url=f"http://127.0.0.1:{port}", timeout_seconds=2.0)
    return replace(
        privacy_looks.site_of(
            Settings(api=api, metrics=MetricsSettings(), privacy=PrivacySettings())
        ),
        books=Unread("no database here"),
    )


@pytest.mark.parametrize("nonsense", _NONSENSE)
def test_an_engine_that_talks_nonsense_is_unknown_with_the_reason(nonsense: str) -> None:
    with answering(_NONSENSE[nonsense]) as port:
        site = site_at(port)
        seen = privacy_looks.looked_at(site)
    assert set(seen.unread()) == set(type(seen).__slots__)
    assert all(0 < len(why) <= 200 for why in seen.unread().values())
    assert diagnose(seen, site.limits) == ()
    for check in privacy_checks.CHECKS.values():
        found = check(seen, site.limits)
        assert found.health is Health.UNKNOWN
        assert found.summary


def test_an_endpoint_that_is_not_offered_is_unknown_and_says_which_setting() -> None:
    with answering(saying(b"{}")) as port:
        site = site_at(port)
        mute = site.privacy.model_copy(update={"probe_path": "", "published_path": ""})
        seen = privacy_looks.looked_at(replace(site, privacy=mute))
    assert "RUNBOOK_PRIVACY" in seen.unread()["noise"]
    assert "RUNBOOK_PRIVACY" in seen.unread()["anonymity"]


@pytest.fixture
def books() -> Books:
    return books_of(Settings())


def event(**data: Any) -> dict[str, Any]:
    known = {"annotator": "anon-1", "epsilon_spent": 0.1, "delta_spent": 1e-9}
    return {"event_id": "e1", "session_id": "s1", "data": {**known, **data}}


def test_a_release_is_read_as_the_rules_say_exactly(books: Books) -> None:
    found = release_of(7, event(noise_multiplier=1.1), books)
    assert found is not None
    assert (found.seq, found.event, found.block) == (7, "e1", "anon-1")
    assert set(found.key) == {"s1", "anon-1"}
    assert (found.epsilon, found.delta) == (Decimal("0.1"), Decimal("1E-9"))
    assert found.mechanism.kind is Kind.CLAIMED
    assert sum([found.epsilon] * 10) == 1


def test_a_release_that_says_how_it_was_made_is_believed(books: Books) -> None:
    kinds = {
        "laplace": event(mechanism="laplace"),
        "gaussian": event(mechanism="gaussian", noise_multiplier=2),
        "sampled_gaussian": event(
            mechanism="sampled_gaussian", noise_multiplier=2, sampling_rate=0.01
        ),
        "none": event(noise_multiplier=0),
    }
    for kind, made in kinds.items():
        found = release_of(1, made, books)
        assert found is not None
        assert found.mechanism.kind == kind


@pytest.mark.parametrize(
    "odd",
    [
        {"epsilon_spent": "0.1"},
        {"epsilon_spent": None},
        {"epsilon_spent": -0.1},
        {"epsilon_spent": 1e300},
        {"epsilon_spent": True},
        {"delta_spent": [0]},
        {"annotator": None},
        {"annotator": 5},
        {"noise_multiplier": "much"},
        {"noise_multiplier": -1},
        {"sampling_rate": {}},
    ],
)
def test_a_release_that_says_nonsense_is_unreadable_and_not_free(
    books: Books, odd: dict[str, Any]
) -> None:
    assert release_of(1, event(**odd), books) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"mechanism": "gaussian", "noise_multiplier": None},
        {"mechanism": {"laplace": 1}},
        {"mechanism": "x" * 10_000},
    ],
)
def test_a_release_of_a_mechanism_that_is_not_known_is_counted_as_it_claims(
    books: Books, odd: dict[str, Any]
) -> None:
    found = release_of(1, event(**odd), books)
    assert found is not None
    assert (found.mechanism.kind, found.is_guessed) == ("claimed", True)


def test_what_is_kept_of_a_look_holds_no_canary_and_no_name(books: Books) -> None:
    source = events(5)
    made = [next(source) for _ in range(400)]
    releases = [
        found
        for seq, each in enumerate(made)
        if each["event_type"] == "privacy_budget_update"
        and (found := release_of(seq, each, books)) is not None
    ]
    site = privacy_looks.site_of(Settings())
    gone = Unread("not looked at")
    book = privacy_looks.spending_of(site, Read(tuple(releases), 0, (), None), None)
    seen = PrivacyReadings(gone, gone, gone, book, gone, gone)
    kept = str([cause.as_json() for cause in diagnose(seen, site.limits)]) + str(
        asdict(privacy_checks.spending(seen, site.limits))
    )
    assert "spend-rolled-back" in kept
    for name in [*CANARIES, *(each.block for each in releases), *(r.key[0] for r in releases)]:
        assert name not in kept
