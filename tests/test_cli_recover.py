"""`runbook recover`: what it prints, what it writes, and with which exit code it ends."""

import json

import pytest

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.settings import settings
from tests.commanding import command, could_not_tell, environment
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, chained, packed, sealed_files
from tests.object_store_fixture import store_settings
from tests.tasks.log_recovery.buckets import Bucket, content

__all__ = ["command", "environment", "store_settings"]

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
    assert ended.out.startswith("verified  All of it is in the target")
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


def test_lost_records_are_named_and_the_exit_is_1(store, command, tmp_path):
    bucket = Bucket(store, "recovered-in-part")
    bucket.fill(FILES | {"seg/0-300.jsonl.zst": packed([*LINES[:7], b"{}", *LINES[8:]])})
    ended = command("recover", "s3://recovered-in-part/audit-logs/", "--to", tmp_path / "l", *KEY)
    assert ended.code == BAD
    assert "lost        records 7\n" in ended.out
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
