"""Time-stamp tokens over heads, from an authority that is `openssl ts -reply` behind HTTP."""

from pathlib import Path

import pytest

from tasks.clients.errors import Malformed
from tasks.clients.timestamps import verify_token
from tasks.work.log_store import DirectoryLog
from tasks.work.timestamping import Authority, stamp, token_path
from tests.clients import loopback
from tests.domain.ledger.sample_log import chained, sealed_files
from tests.tasks.time_stamper import TimeStamper, serving

pytestmark = pytest.mark.components


@pytest.fixture(scope="module")
def stamper(tmp_path_factory: pytest.TempPathFactory) -> TimeStamper:
    return TimeStamper.make(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def log(tmp_path: Path) -> DirectoryLog:
    log = DirectoryLog(tmp_path / "log")
    for path, data in sealed_files(chained(30), older=(10,)).items():
        log.write(path, data)
    return log


def test_a_head_gets_a_token_that_an_auditor_verifies(
    stamper: TimeStamper, log: DirectoryLog
) -> None:
    with serving(stamper) as url:
        assert stamp(log, 30, Authority(url, stamper.root, 10)) == "stored"
    token, note = log.read("timestamps/30.tsr"), log.read("checkpoints/30")
    verify_token(token, note, stamper.root)
    with pytest.raises(Malformed, match="does not verify"):
        verify_token(token, log.read("checkpoints/10"), stamper.root)


def test_a_stamped_head_is_not_stamped_again(stamper: TimeStamper, log: DirectoryLog) -> None:
    with serving(stamper) as url:
        stamp(log, 30, Authority(url, stamper.root, 10))
    gone = Authority("http://127.0.0.1:1", stamper.root, 1)
    assert stamp(log, 30, gone) == "stored"


def test_without_an_authority_there_is_none(log: DirectoryLog) -> None:
    assert stamp(log, 30, None) == "none"
    assert log.paths("timestamps/") == []


def test_an_authority_that_is_away_leaves_it_pending_until_the_next_time(
    stamper: TimeStamper, log: DirectoryLog
) -> None:
    assert stamp(log, 30, Authority("http://127.0.0.1:1", stamper.root, 1)).startswith("pending: ")
    assert log.paths("timestamps/") == []
    with serving(stamper) as url:
        assert stamp(log, 30, Authority(url, stamper.root, 10)) == "stored"


def test_a_token_for_another_query_is_not_taken(stamper: TimeStamper, log: DirectoryLog) -> None:
    """The same head's, even: its nonce is another, so it may be any age."""
    with serving(stamper) as url:
        stamp(log, 30, Authority(url, stamper.root, 10))
    old = log.read("timestamps/30.tsr")
    with serving(stamper, replay=old) as url:
        said = stamp(log, 10, Authority(url, stamper.root, 10))
    assert "does not verify" in said
    assert token_path(10) not in log.paths("timestamps/")


def test_a_token_of_an_authority_that_nobody_named_is_not_taken(
    stamper: TimeStamper, log: DirectoryLog, tmp_path: Path
) -> None:
    other = TimeStamper.make(tmp_path / "other")
    with serving(other) as url:
        assert "does not verify" in stamp(log, 30, Authority(url, stamper.root, 10))
    assert log.paths("timestamps/") == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (loopback.http(200, b"hello", "content-type: application/timestamp-reply"), "not verify"),
        (loopback.http(200, b"", "content-type: application/timestamp-reply"), "not verify"),
        (loopback.http(200, b"<html>"), "found status 200"),
        (loopback.http(503, b""), "503"),
        (loopback.http(403, b""), "403"),
    ],
)
def test_each_odd_answer_leaves_it_pending(
    stamper: TimeStamper, log: DirectoryLog, answer: bytes, told: str
) -> None:
    with loopback.answering(loopback.sending(answer)) as port:
        said = stamp(log, 30, Authority(f"http://127.0.0.1:{port}", stamper.root, 5))
    assert said.startswith("pending: ")
    assert told in said
    assert log.paths("timestamps/") == []
