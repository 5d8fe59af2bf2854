"""The object store client and a sealed log in it, against a real S3 server with Object Lock."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from tasks.clients.errors import ClientError, Conflict, Denied, Malformed, NotFound, Transient
from tasks.clients.object_store import PART_BYTES, ObjectStore, check_key
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Status
from tasks.work.log_store import ObjectLog
from tasks.work.verification import verify_log
from tests.domain.ledger.sample_log import TRUST, chained, sealed_files
from tests.object_store_fixture import BUCKET

pytestmark = pytest.mark.components


def test_an_object_is_written_once_and_read_back(object_store):
    object_store.put(BUCKET, "once/a", b"first")
    object_store.put(BUCKET, "once/a", b"first")
    with pytest.raises(Conflict):
        object_store.put(BUCKET, "once/a", b"other")
    with pytest.raises(Conflict):
        object_store.put(BUCKET, "once/a", b"x" * 5000)
    assert object_store.get(BUCKET, "once/a") == b"first"


def test_a_retained_object_says_until_when_it_is_locked(object_store):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    object_store.put(BUCKET, "locked/a", b"kept", retain_until=until)
    head = object_store.head(BUCKET, "locked/a")
    assert (head.lock_mode, head.retain_until, head.size) == ("COMPLIANCE", until, 4)
    assert head.sha256 == hashlib.sha256(b"kept").hexdigest()
    object_store.put(BUCKET, "free/a", b"free")
    assert object_store.head(BUCKET, "free/a").retain_until is None


def test_many_objects_come_in_the_order_asked_for(object_store):
    keys = [f"many/{number:03d}" for number in range(150)]
    for key in keys:
        object_store.put(BUCKET, key, key.encode())
    backwards = keys[::-1]
    assert list(object_store.get_many(BUCKET, backwards)) == [key.encode() for key in backwards]
    assert [entry.key for entry in object_store.list(BUCKET, "many/")] == keys
    with pytest.raises(Malformed, match="at most 100"):
        object_store.list(BUCKET, "many/", limit=100)


@pytest.mark.parametrize("size", [0, 1000, PART_BYTES + 1])
def test_a_file_survives_upload_and_download(object_store, tmp_path, size):
    source, copy, key = tmp_path / "source", tmp_path / "copy", f"file/{size}"
    source.write_bytes(bytes(size))
    digest = hashlib.sha256(bytes(size)).hexdigest()
    until = datetime.now(UTC) + timedelta(days=1)
    assert object_store.put_file(BUCKET, key, source, retain_until=until) == digest
    assert object_store.put_file(BUCKET, key, source) == digest
    assert object_store.get_file(BUCKET, key, copy) == digest
    assert object_store.head(BUCKET, key).lock_mode == "COMPLIANCE"
    source.write_bytes(b"other")
    with pytest.raises(Conflict):
        object_store.put_file(BUCKET, key, source)


def test_what_is_not_there_is_not_found(object_store):
    for ask in (
        lambda: object_store.get(BUCKET, "nothing"),
        lambda: object_store.head(BUCKET, "nothing"),
        lambda: list(object_store.get_many(BUCKET, ["nothing"])),
        lambda: object_store.get("no-such-bucket", "nothing"),
        lambda: object_store.list("no-such-bucket"),
    ):
        with pytest.raises(NotFound):
            ask()
    assert object_store.list(BUCKET, "nothing/") == []


def test_an_object_over_the_limit_is_not_read(object_store):
    object_store.put(BUCKET, "large/a", bytes(100))
    with pytest.raises(Malformed):
        object_store.get(BUCKET, "large/a", 99)
    with pytest.raises(Malformed):
        list(object_store.get_many(BUCKET, ["large/a"], 99))


def asked_with(settings):
    store = ObjectStore(settings)
    for ask in (
        lambda: store.get(BUCKET, "once/a"),
        lambda: store.head(BUCKET, "once/a"),
        lambda: list(store.get_many(BUCKET, ["once/a"])),
        lambda: store.put(BUCKET, "once/b", b""),
    ):
        with pytest.raises(ClientError) as refused:
            ask()
        yield type(refused.value)
        assert "wrong-secret" not in str(refused.value)
    store.close()


def test_a_wrong_key_is_denied_and_a_dead_server_transient(store_settings):
    wrong = store_settings.model_copy(update={"secret_access_key": SecretStr("wrong-secret")})
    dead = store_settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    assert set(asked_with(wrong)) == {Denied}
    assert set(asked_with(dead)) == {Transient}


@pytest.mark.parametrize(
    "key",
    ["", "/a", "../a", "a/../b", "a/./b", "a//b", "a/", "a\nb", "a\x00b", "x" * 1025, "\u00e9"],
)
def test_a_key_that_points_outside_or_is_odd_is_refused(object_store, key):
    with pytest.raises(BadInput):
        object_store.get(BUCKET, key)
    with pytest.raises(BadInput):
        object_store.put(BUCKET, key, b"")
    with pytest.raises(BadInput):
        check_key(f"elsewhere/{key}", "here/")


def test_a_sealed_log_in_the_object_store_is_verified_and_its_damage_found(object_store):
    log = ObjectLog(object_store, BUCKET, "audit-logs/", retention_days=1)
    files = sealed_files(chained(600))
    for path, data in files.items():
        log.write(path, data)
    assert log.paths("checkpoints/") == ["checkpoints/600"]
    assert object_store.head(BUCKET, "audit-logs/checkpoints/600").lock_mode == "COMPLIANCE"
    verdict = verify_log(log, TRUST)
    assert (verdict.status, verdict.source, verdict.records) == (Status.VERIFIED, "store", 600)
    damaged = ObjectLog(object_store, BUCKET, "damaged/")
    for path, data in files.items():
        if not path.startswith("seg/"):
            damaged.write(path, data)
    assert verify_log(damaged, TRUST).status is Status.TAMPERED
    unslashed = ObjectLog(object_store, BUCKET, "audit-logs")
    assert unslashed.paths("checkpoints/") == ["checkpoints/600"]
