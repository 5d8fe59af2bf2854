"""`runbook recover`: what it prints, what it writes, and with which exit code it ends."""

import json

import pytest

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.settings import settings
from tasks.work import responder
from tests.commanding import command, could_not_tell, environment
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, chained, note_of, packed, sealed_files
from tests.tasks.log_recovery.buckets import Bucket, content

__all__ = ["command", "environment"]

pytestmark = pytest.mark.components

LINES = chained(300)
FILES = sealed_files(LINES, older=(100,))
KEY = ("--log-key", SIGNER.verifier.encoded, "--origin", ORIGIN)


@pytest.fixture
def store(store_settings, environment):
    environment.setenv("RUNBOOK_STORE__ENDPOINT_URL", store_settings.endpoint_url)
    environment.setenv("RUNBOOK_STORE__ACCESS_KEY_ID", "tester")
    environment.setenv("RUNBOOK_STORE__SECRET_ACCESS_KEY", "tester-secret")
    settings.cache_clear()
    return store_settings


def test_the_whole_way_of_a_recovery_at_the_terminal(store, command, tmp_path):
    bucket = Bucket(store, "recovered-by-hand")
    source, target, said = (
        "s3://recovered-by-hand/audit-logs",
        tmp_path / "logs",
        tmp_path / "r.json",
    )
    bucket.fill(FILES)

    plan = command("recover", source, "--to", target, "--dry-run", *KEY)
    assert (plan.code, target.exists()) == (GOOD, False)
    assert f"{len(FILES)} to fetch" in plan.out

    ended = command("recover", source, "--to", target, *KEY, "--json", said)
    assert ended.code == GOOD, ended
    assert ended.out.startswith("verified  All of it, up to the confirmed end, is in the target")
    assert content(target) == FILES
    assert json.loads(said.read_text())["verdict"]["verdict"] == "verified"
    assert command("verify", target, *KEY).code == GOOD

    bucket.put("evil\x1b[2J\x1b]0;x\x07", b"x")
    bucket.delete("checkpoints/100")
    refused = command("recover", source, "--to", target, *KEY)
    assert refused.code == COULD_NOT_TELL
    assert r"evil\x1b[2J\x1b]0;x\x07: it holds a control" in refused.out
    assert "\x1b" not in refused.out

    unproven = command("recover", source, "--to", target)
    assert unproven.code == COULD_NOT_TELL
    assert "--trust" in unproven.out

    bucket.delete("evil\x1b[2J\x1b]0;x\x07")
    again = command("recover", source, "--to", target, *KEY)
    assert (again.code, "0 fetched" in again.out) == (GOOD, True)
    bucket.close()


@pytest.fixture
def kept_head(environment, audit_database):
    """Our own PostgreSQL, with the head of all 300 records as the anchor."""
    environment.setenv("RUNBOOK_RESPONDER__DSN", audit_database.owner)
    settings.cache_clear()
    responder.close()
    responder.migrate()
    audit_database.run(
        "INSERT INTO anchors (origin, size, note) VALUES (%s, %s, %s)", ORIGIN, 300, note_of(LINES)
    )
    yield
    responder.close()


@pytest.mark.usefixtures("kept_head")
def test_a_log_that_was_rolled_back_does_not_pass_where_we_kept_a_newer_head(
    store, command, tmp_path
):
    bucket = Bucket(store, "rolled-back", versions=False)
    bucket.fill(sealed_files(LINES[:100]))
    ended = command("recover", "s3://rolled-back/audit-logs/", "--to", tmp_path / "l", *KEY)
    assert ended.code == BAD, ended
    assert "ROLLBACK" in ended.out
    assert "All of it" not in ended.out
    bucket.close()


def test_a_kept_head_that_cannot_be_read_is_told_and_how_far_it_is_proven(
    store, environment, command, tmp_path
):
    environment.setenv("RUNBOOK_RESPONDER__DSN", "postgresql://127.0.0.1:9/none")
    settings.cache_clear()
    responder.close()
    bucket = Bucket(store, "without-versions", versions=False)
    bucket.fill(FILES)
    ended = command("recover", "s3://without-versions/audit-logs/", "--to", tmp_path / "l", *KEY)
    responder.close()
    assert ended.code == GOOD, ended
    said = " ".join(ended.out.split())
    assert said.startswith("verified All of it, up to the confirmed end, is in the target")
    assert "nothing shows that there was no newer one" in said
    assert "our own kept head was not looked at" in said
    bucket.close()


def test_a_loss_of_which_nothing_can_be_named_is_not_told_as_a_list(store, command, tmp_path):
    bucket = Bucket(store, "only-heads", versions=False)
    bucket.fill({path: FILES[path] for path in FILES if path.startswith("checkpoints/")})
    ended = command("recover", "s3://only-heads/audit-logs/", "--to", tmp_path / "l", *KEY)
    assert ended.code == BAD
    said = " ".join(ended.out.split())
    assert "which ones could not be told" in said
    assert "is named here" not in said
    bucket.close()


def test_lost_records_are_named_and_the_exit_is_1(store, command, tmp_path):
    bucket = Bucket(store, "recovered-in-part")
    bucket.fill(FILES | {"seg/0-300.jsonl.zst": packed([*LINES[:7], b"{}", *LINES[8:]])})
    ended = command("recover", "s3://recovered-in-part/audit-logs/", "--to", tmp_path / "l", *KEY)
    assert ended.code == BAD
    assert "lost        records 7\n" in ended.out
    assert "in none of the copies that could be looked at" in " ".join(ended.out.split())
    bucket.close()


@pytest.mark.parametrize(
    "source", ["./directory", "s3://", "s3:///x", "http://x/y", "s3://b/p?q=1"]
)
def test_a_source_that_is_none_is_told(command, tmp_path, source):
    could_not_tell(
        command("recover", source, "--to", tmp_path / "logs", *KEY), "s3://bucket/prefix"
    )
    assert not (tmp_path / "logs").exists()


@pytest.mark.usefixtures("store")
def test_a_bucket_that_is_not_there_and_a_prefix_without_a_log_are_told(command, tmp_path):
    could_not_tell(
        command("recover", "s3://no-such-bucket/x/", "--to", tmp_path, *KEY), "not exist"
    )
    could_not_tell(
        command("recover", "s3://sealed-logs/no-such-prefix/", "--to", tmp_path, *KEY),
        "prefix right",
    )
