"""The sealer puts back what proves the log: real S3 with Object Lock, table and sealer process."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from deployments.lab.damage import Damage
from deployments.lab.dataset import events
from deployments.lab.patient import DATABASE
from deployments.lab.s3 import BACKUPS
from deployments.lab.stack import Lab
from deployments.lab.store_faults import bucket_versions_deleted, segments_deleted
from tasks.clients import sealer
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import Status, leaf_hash
from tasks.domain.log_rebuild import Mode, Survey
from tasks.settings import settings
from tasks.work import anchors, rebuild_order
from tasks.work.log_heads import latest_head
from tasks.work.log_rebuild import Order, rebuild
from tasks.work.log_store import ObjectLog
from tasks.work.log_survey import survey
from tasks.work.log_versions import ObjectLogVersions
from tasks.work.rebuild_notes import read_signed
from tasks.work.rebuilding import table_source
from tasks.work.sealed_logs import LogName, place_of, trust_of
from tasks.work.sealing import Sealer
from tasks.work.verification import verify_log
from tests.conftest import RECORDS

pytestmark = [pytest.mark.components, pytest.mark.slow]
INCIDENT = "INC-20261122-030000-aaaa"


@pytest.fixture
def log(patient: Lab) -> Iterator[ObjectLog]:
    assert settings().lab, patient
    store = ObjectStore(settings().store)
    yield ObjectLog(store, *place_of(LogName.AUDIT, settings()))
    store.close()


def look(log: ObjectLog) -> Survey:
    """As the responder sees it."""
    place = place_of(LogName.AUDIT, settings())
    table = table_source(settings().database.reader_dsn.get_secret_value())
    versions = ObjectLogVersions(settings().store, *place)
    return survey(log, trust_of(LogName.AUDIT, settings()), versions, table)[0]


def order(patient: Lab, objects: list[str], incident: str = INCIDENT) -> sealer.RebuildAnswer:
    return sealer.rebuild(patient.sealer.settings, "audit", incident, objects, mode=Mode.IN_PLACE)


def verified(log: ObjectLog) -> bool:
    return verify_log(log, trust_of(LogName.AUDIT, settings())).status is Status.VERIFIED


def statement_of(log: ObjectLog, answer: sealer.RebuildAnswer) -> dict[str, Any]:
    name = answer.statement.split("/")[1]
    trust = trust_of(LogName.AUDIT, settings())
    keys = [each.verifier for each in trust.log_keys]
    path, document, _ = read_signed(log, name, "statement", trust.origin, keys)
    assert path == answer.statement
    return json.loads(document)


def contents(patient: Lab) -> dict[str, bytes]:
    client = patient.objects.client("operator")
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BACKUPS):
        for each in page.get("Contents", ()):
            found[each["Key"]] = client.get_object(Bucket=BACKUPS, Key=each["Key"])["Body"].read()
    client.close()
    return {key: data for key, data in found.items() if "/rebuilt/" not in key}


@pytest.mark.parametrize("fault", [segments_deleted, bucket_versions_deleted])
def test_what_was_deleted_is_put_back_byte_for_byte(
    patient: Lab, log: ObjectLog, fault: Callable[[Lab], Damage]
) -> None:
    before = contents(patient)
    assert look(log).is_whole
    damage = fault(patient)
    assert set(before) - set(contents(patient)) == set(damage.objects)
    assert not verified(log)
    found = look(log)
    assert {f"audit-logs/{one.path}" for one in found.objects} == set(damage.objects)
    answer = order(patient, found.runs)
    assert (answer.put_back, answer.left, answer.lost) == (len(damage.objects), 0, 0)
    assert contents(patient) == before
    assert look(log).is_whole
    assert verified(log)
    said = statement_of(log, answer)
    assert said["new_tree"] == {"size": found.head.size, "root": found.head.root.hex()}
    assert {one["original"] for one in said["put_back"]} == {one.path for one in found.objects}
    from_where = {one["source"] for one in said["put_back"] if one["path"].startswith("seg/")}
    if damage.refused:
        assert from_where == {f"{found.head.size} lines of the table"}
    else:
        assert all("version" in source for source in from_where)
    assert patient.seal_now() == found.head.size


def operator(patient: Lab) -> Any:
    return patient.objects.client("operator")


def overwrite(patient: Lab, path: str, data: bytes) -> None:
    client = operator(patient)
    client.put_object(Bucket=BACKUPS, Key=f"audit-logs/{path}", Body=data)
    client.close()


def delete(patient: Lab, *paths: str) -> None:
    client = operator(patient)
    for path in paths:
        client.delete_object(Bucket=BACKUPS, Key=f"audit-logs/{path}")
    client.close()


def versions_of(patient: Lab, path: str) -> dict[str, bytes]:
    client = operator(patient)
    key = f"audit-logs/{path}"
    listed = client.list_object_versions(Bucket=BACKUPS, Prefix=key).get("Versions", ())
    ids = [each["VersionId"] for each in listed if each["Key"] == key]
    found = {
        one: client.get_object(Bucket=BACKUPS, Key=key, VersionId=one)["Body"].read() for one in ids
    }
    client.close()
    return found


def test_what_was_overwritten_is_put_back_and_the_damaged_version_named(
    patient: Lab, log: ObjectLog
) -> None:
    before = contents(patient)
    segment = f"seg/0-{RECORDS}.jsonl.zst"
    overwrite(patient, segment, b"not zstd")
    overwrite(patient, "tile/0/002", bytes(8192))
    overwrite(patient, f"checkpoints/{RECORDS}", b"no note")
    found = look(log)
    assert {one.why.value for one in found.objects} <= {"wrong content", "torn"}
    said = statement_of(log, order(patient, found.runs))
    assert contents(patient) == before
    kept = {one["path"]: one["kept"] for one in said["put_back"]}
    assert versions_of(patient, segment)[kept[segment]] == b"not zstd"
    assert versions_of(patient, "tile/0/002")[kept["tile/0/002"]] == bytes(8192)
    assert said["consistency"] == "inconsistent"
    assert verified(log)


def test_the_newest_head_that_was_deleted_comes_back_as_it_was_signed(
    patient: Lab, api: httpx.Client, log: ObjectLog
) -> None:
    batch = {"events": [event for event, _ in zip(events(8), range(40), strict=False)]}
    assert api.post("/api/v1/audit/records", json=batch).status_code == 200
    assert patient.seal_now() == RECORDS + 40
    before = contents(patient)
    delete(patient, f"checkpoints/{RECORDS + 40}", f"seg/0-{RECORDS + 40}.jsonl.zst")
    found = look(log)
    assert found.head.size == RECORDS + 40
    assert order(patient, found.runs).put_back == 2
    assert contents(patient) == before


def test_a_head_whose_versions_are_gone_comes_from_the_anchor(patient: Lab, log: ObjectLog) -> None:
    trust = trust_of(LogName.AUDIT, settings())
    anchors.advance(log, trust, latest_head(log, trust).checkpoint)
    patient.objects.destroy(BACKUPS, f"audit-logs/checkpoints/{RECORDS}")
    patient.objects.destroy(BACKUPS, "audit-logs/tile/0/000")
    before = anchors.newest(trust)
    assert before is not None
    found = rebuild_order.look(settings())
    result = rebuild_order.order_rebuild(INCIDENT, found.runs, found.mode, settings())
    assert (result["put_back"], result["size"]) == (2, RECORDS)
    assert log.read(f"checkpoints/{RECORDS}").decode() == before.note
    assert verified(log)


def test_segments_and_table_that_are_damaged_at_other_places(
    patient: Lab, log: ObjectLog, database: psycopg.Connection
) -> None:
    """What the table has is put back; what neither has is said, and nothing is made up."""
    delete(patient, "tile/0/001")
    patient.objects.destroy(BACKUPS, f"audit-logs/seg/0-{RECORDS}.jsonl.zst")
    rows = dict(database.execute("SELECT seq, record FROM audit_records").fetchall())
    database.execute("UPDATE audit_records SET record = record || ' ' WHERE seq = 4000")
    database.execute("DELETE FROM audit_records WHERE seq BETWEEN 100 AND 102")
    found = look(log)
    assert found.lost == ((100, 103), (4000, 4001))
    answer = order(patient, found.runs)
    assert (answer.put_back, answer.lost) == (1, 4)
    assert statement_of(log, answer)["lost"] == [[100, 103], [4000, 4001]]
    for seq in (100, 101, 102, 4000):  # the table is mended, as a restore does
        database.execute("DELETE FROM audit_records WHERE seq = %s", (seq,))
        database.execute(
            "INSERT INTO audit_records (seq, record, leaf, event_type) VALUES (%s, %s, %s, 'x')",
            (seq, rows[seq], leaf_hash(rows[seq])),
        )
    answer = order(patient, look(log).runs)
    assert (answer.put_back, answer.lost, answer.left) == (1, 0, 0)
    assert verified(log)


def test_altered_history_is_never_put_back(
    patient: Lab, log: ObjectLog, database: psycopg.Connection
) -> None:
    """Tiles and segments are gone for good, and the table was rewritten from one record on."""
    before = contents(patient)
    for key in before:
        if key.startswith(("audit-logs/tile", "audit-logs/seg")):
            patient.objects.destroy(BACKUPS, key)
    database.execute("UPDATE audit_records SET record = record || ' ' WHERE seq IN (7, 8)")
    left = contents(patient)
    with pytest.raises(NotProven, match="nothing is put back"):
        look(log)
    for objects in (["tile/0/000"], ["seg/0-5000.jsonl.zst", "tile/0/000..tile/0/018"]):
        with pytest.raises(NotProven, match="nothing is put back"):
            order(patient, objects)
    assert contents(patient) == left


WRONG_ORDERS = (
    {},
    [],
    "text",
    {"incident": "INC 1", "objects": [], "mode": "in place", "notes": []},
    {"incident": INCIDENT, "objects": "tile/0/000", "mode": "in place", "notes": []},
    {"incident": INCIDENT, "objects": [1], "mode": "in place", "notes": []},
    {"incident": INCIDENT, "objects": ["tile/0/000..seg/x"], "mode": "in place", "notes": []},
    {"incident": INCIDENT, "objects": ["../evidence"], "mode": "in place", "notes": []},
    {"incident": INCIDENT, "objects": ["x"] * 5000, "mode": "in place", "notes": []},
    {"incident": INCIDENT, "objects": [], "mode": "in place", "notes": ["n"] * 9},
    {"incident": INCIDENT, "objects": [], "notes": []},
    {"incident": INCIDENT, "objects": [], "mode": "over it", "notes": []},
    {"incident": INCIDENT, "objects": [], "mode": [], "notes": []},
)


def test_a_wrong_order_is_refused_and_writes_nothing(patient: Lab) -> None:
    delete(patient, "tile/0/001")
    before = contents(patient)
    url = f"{patient.sealer.url}/rebuild/audit"
    token = f"Bearer {patient.sealer.token}"
    with httpx.Client(headers={"Authorization": token}, timeout=60) as client:
        for wrong in WRONG_ORDERS:
            answer = client.post(url, json=wrong)
            assert (answer.status_code, answer.json()["error"]) == (400, "BadInput"), wrong
        assert client.post(url, content=b"{").status_code == 400
        assert client.post(url, content=b" " * (2 << 20)).status_code == 413
        assert client.post(f"{url}/../other", json={}).status_code in {400, 404}
    assert httpx.post(url, json=WRONG_ORDERS[3], timeout=60).status_code == 401
    assert contents(patient) == before


def test_only_what_is_damaged_and_ordered_is_put_back(patient: Lab, log: ObjectLog) -> None:
    delete(patient, "tile/0/001", "tile/0/002")
    wanted = ["tile/0/002", "tile/0/003", "tile/0/999", "/evidence", "database/x"]
    answer = order(patient, wanted)
    assert (answer.put_back, answer.left) == (1, 1)
    assert [one.path for one in look(log).objects] == ["tile/0/001"]
    with pytest.raises(BadInput):
        sealer.rebuild(patient.sealer.settings, "audit", "no id at all", [], mode=Mode.IN_PLACE)


def test_the_same_order_again_gives_the_same_statement(patient: Lab, log: ObjectLog) -> None:
    delete(patient, "tile/0/001")
    first = order(patient, ["tile/0/001"])
    again = order(patient, ["tile/0/001"])
    assert (again.statement, again.sha256, again.put_back) == (first.statement, first.sha256, 0)
    other = order(patient, ["tile/0/002"])
    assert (other.statement, other.put_back) == ("", 0)
    assert look(log).is_whole


def test_two_orders_at_once_and_a_sealing_are_carried_out_one_after_the_other(
    patient: Lab, api: httpx.Client, log: ObjectLog
) -> None:
    batch = {"events": [event for event, _ in zip(events(9), range(30), strict=False)]}
    damaged = len(segments_deleted(patient).objects)
    runs = look(log).runs
    assert api.post("/api/v1/audit/records", json=batch).status_code == 200
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(order, patient, runs) for _ in range(2)]
        answers = [each.result() for each in asked]
    assert sorted(each.put_back for each in answers) == [0, damaged]
    assert len({each.statement for each in answers}) == 1
    assert look(log).is_whole
    assert patient.seal_now() == RECORDS + 30
    assert look(log).is_whole


def test_a_sealer_killed_while_it_rebuilds_ends_it_when_asked_again(
    patient: Lab, log: ObjectLog
) -> None:
    before = contents(patient)
    for pause in (0.05, 0.3, 0.6, 0.9, 1.3):
        damage = segments_deleted(patient)
        found = look(log)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(order, patient, found.runs, f"INC-{pause}")
            time.sleep(pause)
            assert patient.sealer.child is not None
            patient.sealer.child.kill()
            asked.exception()
        patient.sealer.stop()
        patient.sealer.start()
        answer = order(patient, found.runs, f"INC-{pause}")
        said = statement_of(log, answer)
        assert {one["original"] for one in said["put_back"]} == {one.path for one in found.objects}
        assert len(said["put_back"]) == len(damage.objects)
        assert contents(patient) == before
        assert look(log).is_whole


def test_without_versions_nothing_is_written_over(patient: Lab) -> None:
    """A bucket that keeps none: what is missing is put back, what is damaged stays as evidence."""
    client = operator(patient)
    client.create_bucket(Bucket="plain")
    for key, data in contents(patient).items():
        client.put_object(Bucket="plain", Key=key, Body=data)
    key = patient.objects.keys["operator"]
    store = settings().store.model_copy(
        update={
            "access_key_id": SecretStr(key.key_id),
            "secret_access_key": SecretStr(key.secret),
        }
    )
    log = ObjectLog(ObjectStore(store), "plain", "audit-logs/")
    versions = ObjectLogVersions(store, "plain", "audit-logs/")
    client.put_object(Bucket="plain", Key="audit-logs/tile/0/002", Body=b"damaged")
    client.delete_object(Bucket="plain", Key="audit-logs/tile/0/003")
    trust = trust_of(LogName.AUDIT, settings())
    office = Sealer(log, patient.sealers_signer(), trust)
    asked = Order(INCIDENT, ("tile/0/002", "tile/0/003"), Mode.BESIDE)
    dsn = patient.patient.dsn("sealer", DATABASE)
    done = rebuild(dsn, office, versions, asked)
    assert [one.original for one in done.put_back] == ["tile/0/002", "tile/0/003"]
    beside = done.put_back[0].path
    assert beside.startswith("rebuilt/")
    assert log.read("tile/0/002") == b"damaged"
    assert log.read(beside) == contents(patient)["audit-logs/tile/0/002"]
    assert log.read("tile/0/003") == contents(patient)["audit-logs/tile/0/003"]
    again = rebuild(dsn, office, versions, asked)
    assert (again.put_back, again.statement) == ((), done.statement)
    client.close()
