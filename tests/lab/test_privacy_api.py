"""The lab's privacy engine: it releases, it can be halted, and halted it really refuses."""

import secrets

import httpx
import psycopg
import pytest

from deployments.lab.dataset import events
from deployments.lab.privacy_api import LOCKED
from deployments.lab.privacy_engine_state import Engine
from deployments.lab.stack import Lab
from tasks.domain.privacy_spends import digest

pytestmark = pytest.mark.components

_HALT = {"incident": "INC-1", "reason": "a test"}


def asked(annotator: str = "anon-1", event: str = "") -> dict[str, object]:
    return {
        "event_id": event or secrets.token_hex(16),
        "session_id": "session-of-a-test",
        "annotator": annotator,
        "epsilon": 0.25,
    }


def brakes(lab: Lab) -> httpx.Client:
    headers = {"Authorization": f"Bearer {lab.control_token}"}
    return httpx.Client(base_url=lab.api.url, headers=headers, timeout=40)


def released() -> dict[str, object]:
    return next(each for each in events(5) if each["event_type"] == "privacy_budget_update")


def test_a_release_is_charged_once_however_often_it_is_asked_for(
    api: httpx.Client, database: psycopg.Connection
) -> None:
    before = api.get("/api/v1/privacy/budget").json()
    one = asked()
    for _ in range(3):
        assert api.post("/api/v1/privacy/releases", json=one).status_code == 200
    row = database.execute(
        "SELECT epsilon_used, operations_count FROM privacy_budgets WHERE session_id = %s",
        (one["session_id"],),
    ).fetchone()
    assert row == (pytest.approx(0.25), 1)
    after = api.get("/api/v1/privacy/budget").json()
    assert before["remaining_epsilon"] - after["remaining_epsilon"] == pytest.approx(0.25)


def test_halted_it_refuses_releases_and_records_of_them_and_nothing_else(
    patient: Lab, api: httpx.Client
) -> None:
    with brakes(patient) as control:
        for _ in range(2):
            answer = control.post("/api/v1/privacy/releases/halt", json=_HALT)
            assert answer.json()["halted"] is True
        assert api.post("/api/v1/privacy/releases", json=asked()).status_code == LOCKED
        batch = {"events": [released()]}
        assert api.post("/api/v1/audit/records", json=batch).status_code == LOCKED
        others = [each for each, _ in zip(events(6), range(3), strict=False)]
        assert api.post("/api/v1/audit/records", json={"events": others}).status_code == 200
        assert api.get("/api/v1/privacy/config").json()["halted"] is True
        patient.api.stop()
        patient.api.start()
        assert api.post("/api/v1/privacy/releases", json=asked()).status_code == LOCKED
        assert control.post("/api/v1/privacy/releases/resume").json()["halted"] is False
        assert api.post("/api/v1/privacy/releases", json=asked()).status_code == 200


def test_only_the_control_token_touches_the_brakes(patient: Lab, api: httpx.Client) -> None:
    for path in ("releases/halt", "releases/resume", "epochs"):
        body = {**_HALT, "epoch": 2, "retire": [], "plan": "p"}
        assert api.post(f"/api/v1/privacy/{path}", json=body).status_code == 401
    assert Engine(patient.engine_file).now().halted is False


def test_a_new_epoch_retires_blocks_for_good_and_counts_others_alone(
    patient: Lab, api: httpx.Client
) -> None:
    assert api.post("/api/v1/privacy/releases", json=asked("anon-a")).status_code == 200
    consumed = api.get("/api/v1/privacy/budget").json()["consumed_epsilon"]
    with brakes(patient) as control:
        body = {"epoch": 2, "retire": ["anon-a"], "plan": "p"}
        for _ in range(2):
            said = control.post("/api/v1/privacy/epochs", json=body).json()
            assert said == {"halted": False, "epoch": 2, "retired": [digest("anon-a")]}
        for wrong in (1, 4):
            answer = control.post("/api/v1/privacy/epochs", json={**body, "epoch": wrong})
            assert answer.status_code in {409, 422}
        other = control.post("/api/v1/privacy/epochs", json={**body, "retire": ["anon-b"]})
        assert other.status_code == 409
    assert api.post("/api/v1/privacy/releases", json=asked("anon-a")).status_code == LOCKED
    assert api.post("/api/v1/privacy/releases", json=asked("anon-b")).status_code == 200
    assert api.get("/api/v1/privacy/budget").json()["consumed_epsilon"] == pytest.approx(consumed)


def test_probes_are_fresh_bounded_and_never_recorded(api: httpx.Client) -> None:
    size = api.get("/api/v1/audit/head").json()["size"]
    first, second = (
        api.post("/api/v1/privacy/probe", json={"samples": 100}).json() for _ in range(2)
    )
    assert (first["mechanism"], first["scale"], len(first["samples"])) == ("gaussian", 1.1, 100)
    assert not set(first["samples"]) & set(second["samples"])
    for samples in (0, 20_001, "many"):
        answer = api.post("/api/v1/privacy/probe", json={"samples": samples})
        assert answer.status_code == 422
    assert api.get("/api/v1/audit/head").json()["size"] == size


def test_what_is_published_is_in_groups_and_names_nobody(api: httpx.Client) -> None:
    said = api.get("/api/v1/privacy/published", params={"limit": 5000}).json()
    assert said["total"] == len(said["records"]) > 100
    assert {frozenset(each) for each in said["records"]} == {
        frozenset({"model", "day", "seconds_band", "reward_band"})
    }
    part = api.get("/api/v1/privacy/published", params={"limit": 10}).json()
    assert (len(part["records"]), part["total"]) == (10, said["total"])
