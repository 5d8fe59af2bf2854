"""The audit API answers from the real table."""

import httpx
import psycopg
import pytest

from deployments.lab.dataset import events
from deployments.lab.stack import Lab
from tests.conftest import RECORDS

pytestmark = pytest.mark.components

_CHECKS = (
    "/api/v1/audit/integrity/verify?full=true",
    "/api/v1/audit/merkle/verify",
    "/api/v1/audit/records",
    "/api/v1/audit/head",
    "/api/v1/privacy/config",
    "/api/v1/users/activity/suspicious",
    "/api/v1/system/integrity/check",
)


def _batch(count: int, seed: int = 99) -> dict[str, object]:
    source = events(seed)
    return {"events": [next(source) for _ in range(count)]}


def test_without_the_token_nothing_is_answered(patient: Lab) -> None:
    for path in _CHECKS:
        for header in ("", "Bearer", "Bearer wrong", f"Basic {patient.api.token}"):
            answer = httpx.get(patient.api.url + path, headers={"Authorization": header})
            assert answer.status_code == 401, (path, header)


def test_an_undamaged_table_verifies(api: httpx.Client) -> None:
    full = api.get("/api/v1/audit/integrity/verify", params={"full": True}).json()
    assert full["status"] == "verified"
    assert full["records_verified"] == RECORDS
    assert full["integrity_score"] == 1
    sampled = api.get("/api/v1/audit/integrity/verify", params={"sample_size": 50}).json()
    assert sampled["records_verified"] == 50
    merkle = api.get("/api/v1/audit/merkle/verify").json()
    assert merkle["status"] == "valid"
    assert merkle["tree_size"] == RECORDS
    assert api.get("/api/v1/system/integrity/check").json()["status"] == "ok"


def test_a_changed_row_is_found(api: httpx.Client, database: psycopg.Connection) -> None:
    database.execute("UPDATE audit_records SET record = record || ' ' WHERE seq = 1234")
    answer = api.get("/api/v1/audit/integrity/verify", params={"full": True}).json()
    assert answer["status"] == "failed"
    assert answer["anomalies"] == [{"seq": 1234, "kind": "hash"}]
    assert api.get("/api/v1/audit/merkle/verify").json()["status"] == "invalid"
    assert "audit_log_integrity_check_passed 0.0" in api.get("/metrics").text


def test_removed_rows_are_found_at_the_end_too(
    api: httpx.Client, database: psycopg.Connection
) -> None:
    api.get("/api/v1/audit/head")
    database.execute("DELETE FROM audit_records WHERE seq IN (77, %s)", (RECORDS - 1,))
    answer = api.get("/api/v1/audit/integrity/verify", params={"full": True}).json()
    missing = [each["seq"] for each in answer["anomalies"] if each["kind"] == "missing"]
    assert missing == [77, RECORDS - 1]
    answer = api.get("/api/v1/system/integrity/check").json()
    assert answer["checks"]["no_acknowledged_record_missing"] is False


def test_a_rewritten_row_with_a_fresh_hash_breaks_the_chain(
    api: httpx.Client, database: psycopg.Connection
) -> None:
    database.execute(
        "UPDATE audit_records SET record = record || ' ',"
        " leaf = sha256('\\x00'::bytea || record || ' ') WHERE seq = 500"
    )
    answer = api.get("/api/v1/audit/integrity/verify", params={"full": True}).json()
    assert answer["anomalies"] == [{"seq": 501, "kind": "chain"}]


def test_records_are_listed_newest_first_and_by_kind(api: httpx.Client) -> None:
    newest = api.get("/api/v1/audit/records", params={"limit": 3}).json()["records"]
    assert [record["seq"] for record in newest] == [RECORDS - 1, RECORDS - 2, RECORDS - 3]
    attempts = api.get("/api/v1/audit/records", params={"event_type": "access_attempt"}).json()
    assert {record["event_type"] for record in attempts["records"]} == {"access_attempt"}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=many", "event_type=x'--", "event_type="]
)
def test_a_query_out_of_bounds_is_refused(api: httpx.Client, query: str) -> None:
    assert api.get(f"/api/v1/audit/records?{query}").status_code == 422


def test_acknowledged_events_are_in_the_table(
    api: httpx.Client, database: psycopg.Connection
) -> None:
    receipts = api.post("/api/v1/audit/records", json=_batch(20)).json()
    assert [receipt["seq"] for receipt in receipts] == list(range(RECORDS, RECORDS + 20))
    rows = database.execute(
        "SELECT seq, encode(leaf, 'hex') FROM audit_records WHERE seq >= %s ORDER BY seq",
        (RECORDS,),
    ).fetchall()
    assert rows == [(receipt["seq"], receipt["leaf"]) for receipt in receipts]
    head = api.get("/api/v1/audit/head").json()
    assert head == {"size": RECORDS + 20, "leaf": receipts[-1]["leaf"]}
    full = api.get("/api/v1/audit/integrity/verify", params={"full": True}).json()
    assert full["status"] == "verified"


def test_a_repeated_batch_gets_its_receipts_and_is_not_written_twice(api: httpx.Client) -> None:
    first = api.post("/api/v1/audit/records", json=_batch(5)).json()
    assert api.post("/api/v1/audit/records", json=_batch(5)).json() == first
    assert api.get("/api/v1/audit/head").json()["size"] == RECORDS + 5


def test_too_many_events_at_once_are_refused(api: httpx.Client) -> None:
    assert api.post("/api/v1/audit/records", json=_batch(1001)).status_code == 422


def test_refused_logins_make_a_user_suspicious(api: httpx.Client) -> None:
    assert api.get("/api/v1/users/activity/suspicious").json()["count"] == 0
    batch = _batch(6)
    for event in batch["events"]:  # type: ignore[attr-defined]  # JSON
        event |= {
            "event_type": "access_attempt",
            "data": {"user": "mallory", "outcome": "denied", "address": "10.9.9.9"},
        }
    assert api.post("/api/v1/audit/records", json=batch).status_code == 200
    (found,) = api.get("/api/v1/users/activity/suspicious").json()["users"]
    assert (found["user"], found["denied"], found["addresses"]) == ("mallory", 6, ["10.9.9.9"])


def test_the_privacy_budget_is_that_of_the_last_spend(
    api: httpx.Client, database: psycopg.Connection
) -> None:
    row = database.execute(
        "SELECT event_data ->> 'consumed_epsilon' FROM audit_events"
        " WHERE event_type = 'privacy_budget_update' ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    answer = api.get("/api/v1/privacy/config").json()
    assert answer["consumed_epsilon"] == pytest.approx(float(row[0]))
    assert answer["remaining_epsilon"] == pytest.approx(10 - float(row[0]))
    assert answer["noise_multiplier"] == 1.1


def test_without_the_table_the_api_is_unhealthy(
    api: httpx.Client, database: psycopg.Connection
) -> None:
    assert api.get("/health").json()["status"] == "healthy"
    database.execute("DROP TABLE audit_records CASCADE")
    answer = api.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert api.get("/api/v1/audit/integrity/verify").status_code == 503


def test_requests_are_counted_by_route_not_by_path(api: httpx.Client) -> None:
    api.get("/api/v1/audit/records?limit=1")
    api.get("/no/such/path")
    text = api.get("/metrics").text
    assert 'endpoint="/api/v1/audit/records",method="GET",status="200"' in text
    assert 'endpoint="unmatched"' in text
    assert "/no/such/path" not in text
