"""Checks of systems that are dead, slow, hostile or refuse us."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.lab.stack import Lab
from tasks.clients import audit_api, cache, http, postgres
from tasks.clients.errors import Conflict, Denied, Malformed, NotFound, Transient
from tasks.domain.facts import FactKind
from tasks.domain.observation import Health, Observation
from tasks.sections.systems import ApiSettings, CacheSettings
from tasks.settings import settings
from tasks.work import incidents, journal
from tasks.work.checks import Seen, observe
from tests.clients.loopback import answering, dripping, sending
from tests.clients.loopback import http as said

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

STEP = "triage.api-health"
SLACK = 0.5  # seconds that a check may take beyond its time-out


@pytest.fixture
def incident(patient: Lab) -> str:
    assert settings().lab, patient
    return incidents.declare("t", "api", "api_service", by="anna")


def check(incident: str, probe: Callable[[], Seen], step: str = STEP) -> Observation:
    return observe(incident, step, "api", probe)


def journaled(incident: str, step: str = STEP) -> dict[str, Any]:
    return dict(journal.read(incident).checks[step])


def asking(url: str, token: str = "", timeout_seconds: float = 2.0) -> Callable[[], Seen]:
    """The probe of an API that says what it has heard."""
    api = ApiSettings(url=url, token=SecretStr(token), timeout_seconds=timeout_seconds)

    def probe() -> Seen:
        answer = audit_api.get(api, "audit/head")
        return Seen(Health.HEALTHY, "answers", {"size": answer.get("size")})

    return probe


def test_what_a_probe_saw_is_journaled_with_its_evidence(patient: Lab, incident: str) -> None:
    seen = check(incident, asking(patient.api.url, patient.api.token))
    assert (seen.health, seen.summary) == (Health.HEALTHY, "answers")
    assert seen.evidence == {"size": patient.options.records}
    assert journaled(incident) == {
        "step": STEP,
        "component": "api",
        "health": "Healthy",
        "summary": "answers",
        "seconds": seen.seconds,
        "evidence": seen.evidence,
    }


def test_a_dead_api_is_failed_at_once(patient: Lab, incident: str) -> None:
    patient.api.stop()
    began = time.monotonic()
    seen = check(incident, asking(patient.api.url, patient.api.token))
    assert seen.health is Health.FAILED
    assert "to answer" in seen.summary
    assert time.monotonic() - began < SLACK
    assert journaled(incident)["health"] == "Failed"


def test_an_api_that_refuses_our_token_is_unknown_because_it_may_be_well(
    patient: Lab, incident: str
) -> None:
    seen = check(incident, asking(patient.api.url, "not-its-token"))
    assert seen.health is Health.UNKNOWN
    assert "token" in seen.summary
    assert "not-its-token" not in seen.summary


HANGS = {
    "silent": lambda _: time.sleep(4),
    "headers drip": dripping(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.2, 20),
    "body drips": dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", b" ", 0.2, 20),
}


def test_an_api_that_hangs_is_failed_at_its_time_out(incident: str) -> None:
    for how, hang in HANGS.items():
        with answering(hang) as port:
            began = time.monotonic()
            seen = check(incident, asking(f"http://127.0.0.1:{port}", timeout_seconds=0.5))
            took = time.monotonic() - began
        assert seen.health is Health.FAILED, how
        assert 0.4 < seen.seconds <= took < 0.5 + SLACK, how


def test_a_cache_that_hangs_is_failed_at_its_time_out(incident: str) -> None:
    def probe() -> Seen:
        url = SecretStr(f"redis://:x@127.0.0.1:{port}/0")
        cache.ping(CacheSettings(url=url, timeout_seconds=0.5))
        return Seen(Health.HEALTHY, "PONG")

    with answering(lambda _: time.sleep(4)) as port:
        began = time.monotonic()
        seen = check(incident, probe)
        assert time.monotonic() - began < 0.5 + SLACK
    assert seen.health is Health.FAILED


ANSWERS = {
    "HTML": (said(200, b"<html>sign in</html>"), Health.UNKNOWN),
    "list": (said(200, b"[]"), Health.UNKNOWN),
    "redirect": (said(302, b"", "location: http://127.0.0.1:1/"), Health.UNKNOWN),
    "401": (said(401, b"{}"), Health.UNKNOWN),
    "404": (said(404, b"{}"), Health.FAILED),
    "500": (said(500, b"{}"), Health.FAILED),
    "503": (said(503, b"{}"), Health.FAILED),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n", Health.FAILED),
}


def test_nonsense_is_unknown_and_an_error_of_the_server_is_failed(incident: str) -> None:
    for name, (answer, health) in ANSWERS.items():
        with answering(sending(answer)) as port:
            seen = check(incident, asking(f"http://127.0.0.1:{port}"), name)
        assert seen.health is health, name
        assert journaled(incident, name)["health"] == health.value


def test_every_error_of_a_system_is_an_answer(incident: str) -> None:
    def health_of(error: Exception) -> Health:
        def probe() -> Seen:
            raise error

        return check(incident, probe).health

    assert {
        type(error).__name__: health_of(error)
        for error in (
            Transient("x"),
            NotFound("x"),
            Denied("x"),
            Malformed("x"),
            Conflict("x"),
        )
    } == {
        "Transient": Health.FAILED,
        "NotFound": Health.FAILED,
        "Denied": Health.UNKNOWN,
        "Malformed": Health.UNKNOWN,
        "Conflict": Health.UNKNOWN,
    }


def test_a_bug_of_ours_is_no_answer_of_the_system(incident: str) -> None:
    def probe() -> Seen:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check(incident, probe)
    assert journal.read(incident).checks == {}


def test_a_database_that_is_gone_is_failed_and_its_password_is_not_told(incident: str) -> None:
    def probe() -> Seen:
        with postgres.connect("postgresql://r:geheim@127.0.0.1:1/x", timeout_seconds=2):
            return Seen(Health.HEALTHY, "connected")

    seen = check(incident, probe)
    assert seen.health is Health.FAILED
    assert "geheim" not in seen.summary


def test_the_first_look_is_the_one_that_is_kept(incident: str) -> None:
    check(incident, lambda: Seen(Health.FAILED, "first"))
    check(incident, lambda: Seen(Health.HEALTHY, "second"))
    assert journaled(incident)["summary"] == "first"
    kinds = [fact.kind for fact in journal.read(incident).facts]
    assert kinds.count(FactKind.CHECK_OBSERVED) == 1


def test_a_hostile_summary_is_cut_and_kept_as_text(incident: str) -> None:
    summary = "\x00\ud800<!channel>\x1b[2J" + "x" * 100_000
    check(incident, lambda: Seen(Health.DEGRADED, summary))
    assert journaled(incident)["summary"] == summary[:300]


UNKEEPABLE = ({"rate": float("nan")}, {"text": "x" * 2_000_000}, {"seen": {1, 2}})


def test_evidence_that_cannot_be_kept_costs_the_evidence_and_not_the_triage(incident: str) -> None:
    for number, evidence in enumerate(UNKEEPABLE):
        good, bad = f"good.{number}", f"bad.{number}"
        healthy = check(incident, lambda kept=evidence: Seen(Health.HEALTHY, "good", kept), good)
        failed = check(incident, lambda kept=evidence: Seen(Health.FAILED, "bad", kept), bad)
        assert (healthy.health, failed.health) == (Health.UNKNOWN, Health.FAILED)
        for step in (good, bad):
            assert journaled(incident, step)["evidence"] == {}
            assert "cannot be kept" in journaled(incident, step)["summary"]


def test_health_of_the_labs_api_is_an_answer_even_when_it_is_503(patient: Lab) -> None:
    assert audit_api.health(settings().api).status == 200
    with patient.patient.connect() as connection:
        connection.execute("ALTER DATABASE rlhf_audit ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = 'rlhf_audit'"
        )
    answer: http.Answer = audit_api.health(settings().api)
    assert (answer.status, answer.value["status"] != "healthy") == (503, True)
