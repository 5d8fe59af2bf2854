"""The directory that a recovery fills: whose it is, who may read it, and what it holds already."""

import os
import resource
import stat
from contextlib import contextmanager
from hashlib import sha256
from threading import Event, Thread

import pytest

from tasks.clients.errors import Conflict
from tasks.clients.local_folder import open_folder
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.ledger.legacy_keys import LegacyKey
from tasks.work.disk_room import SPARE_BYTES
from tasks.work.log_recovery import Ending, Proof
from tasks.work.recovery_state import Kept, RecoveryState
from tests.domain.ledger.legacy_log import Logger, one_chain, public_pem
from tests.domain.ledger.sample_log import chained, sealed_files
from tests.tasks.log_recovery.buckets import content

FILES = sealed_files(chained(300))
SOURCE = "s3://bucket/logs/"


def everything(directory):
    """Every path with its mode, time and content; what a look must leave as it is."""
    return {
        path: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in [directory, *directory.rglob("*")]
    }


@contextmanager
def as_nobody():
    """Root may read everything."""
    before = os.geteuid()
    if not before:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_is_restored_may_be_read_by_its_owner_alone(tmp_path):
    before = os.umask(0o022)
    try:
        with open_folder(tmp_path / "logs") as folder:
            with folder.new_file() as file:
                file.write(b"personal data")
                folder.put(file, "s1/events/a.json")
            RecoveryState(folder, SOURCE).close()
    finally:
        os.umask(before)
    for path in [tmp_path / "logs", *(tmp_path / "logs").rglob("*")]:
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path


def test_a_folder_that_nobody_may_look_into_is_named_and_ends_nothing(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "inside").touch()
    (tmp_path / "open").touch()
    deep = tmp_path / "deep"
    deep.joinpath(*("d" * 120)).mkdir(parents=True)
    with open_folder(tmp_path) as folder:
        (tmp_path / "closed").chmod(0)
        try:
            with as_nobody():
                found = sorted(folder.walk())
        finally:
            (tmp_path / "closed").chmod(0o700)
    assert found == ["closed/", "deep/" + "d/" * 99, "open"]


def test_a_state_that_the_disk_takes_in_part_is_cut_back_to_its_last_line(tmp_path):
    """A disk that fills up writes less than it was given, and says nothing."""
    with open_folder(tmp_path) as folder:
        state = RecoveryState(folder, SOURCE)
        state.keep([Kept("a", "", "0" * 64)])
        file = tmp_path / ".unfinished-recovery" / "state.jsonl"
        before = file.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))
        try:
            with pytest.raises(RunbookError):
                state.keep([Kept("b", "", "1" * 64)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert file.read_bytes() == before
        state.keep([Kept("c", "", "2" * 64)])
        state.close()
        again = RecoveryState(folder, SOURCE)
        assert (again.made("a"), again.made("b"), again.made("c")) == ("0" * 64, None, "2" * 64)
        again.close()


def test_a_state_knows_what_was_fetched_from_what_was_put_right(tmp_path):
    with open_folder(tmp_path) as folder:
        state = RecoveryState(folder, SOURCE)
        state.keep([Kept("a", "1" * 32, "0" * 64), Kept("b", "2" * 32, "0" * 64)])
        state.mended("a", "3" * 64)
        state.mended("c", "3" * 64)
        state.close()
        again = RecoveryState(folder, SOURCE)
        assert [again.made(path) for path in "abc"] == ["3" * 64, "0" * 64, "3" * 64]
        assert [again.fetched(path) for path in "abc"] == [None, "0" * 64, None]
        again.keep([Kept("a", "1" * 32, "0" * 64)])
        assert again.fetched("a") == "0" * 64
        again.close()


def test_a_look_makes_nothing_and_removes_nothing(tmp_path):
    with open_folder(tmp_path) as folder:
        RecoveryState(folder, SOURCE).close()
    work = tmp_path / ".unfinished-recovery"
    (work / "part-3").write_bytes(b"of a run that was killed")
    with (work / "state.jsonl").open("ab") as file:
        file.write(b'["a", "", "cut o')
    (tmp_path / "new").mkdir()
    before = everything(tmp_path)
    for place in (tmp_path, tmp_path / "new"):
        with open_folder(place, fill=False) as folder:
            RecoveryState(folder, SOURCE).close()
            list(folder.walk())
    assert everything(tmp_path) == before
    with (
        open_folder(tmp_path),
        pytest.raises(Conflict, match="another process"),
        open_folder(tmp_path, fill=False),
    ):
        pass


@pytest.mark.components
def test_copies_of_two_days_in_one_directory_do_not_call_each_other_altered(bucket, tmp_path):
    """Between them a session was rotated out."""
    rotated = Logger({}, session="session-0")
    for number in range(5):
        rotated.log({"n": number})
    both, log = one_chain().files | rotated.files, one_chain().files
    recoveries = []
    for day, files in (("20240121", both), ("20240122", log)):
        bucket.fill(files, f"audit-logs/daily/{day}/audit_logs/")
        outside = {path: sha256(data).hexdigest() for path, data in files.items()}
        proof = Proof(public_key=LegacyKey.parse(public_pem()), manifest=outside)
        recoveries.append(bucket.recover(tmp_path, proof=proof))
    for recovery, files in zip(recoveries, (both, log), strict=True):
        assert recovery.ending is Ending.VERIFIED, recovery.reason
        assert recovery.mirrored.extra == []
        assert content(recovery.target / "audit_logs") == files


@pytest.mark.components
def test_a_dry_run_leaves_the_directory_as_it_was(bucket, tmp_path):
    bucket.fill(FILES)
    bucket.recover(tmp_path)
    state = tmp_path / ".unfinished-recovery" / "state.jsonl"
    state.write_bytes(state.read_bytes()[:-20])
    (tmp_path / "seg/0-300.jsonl.zst").write_bytes(b"altered")
    before = everything(tmp_path)
    plan = bucket.recover(tmp_path, dry_run=True)
    assert (plan.ending, plan.mirrored.fetched) == (Ending.PLANNED, 2)
    assert everything(tmp_path) == before


@pytest.mark.components
def test_a_dry_run_of_a_prefix_without_a_log_says_so_as_a_real_one_does(bucket, tmp_path):
    bucket.put("README", b"x", "strays/")
    for prefix in ("nothing/", "strays/"):
        with pytest.raises(BadInput, match="is the prefix right"):
            bucket.recover(tmp_path / "logs", prefix, dry_run=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.components
def test_some_room_stays_free_however_many_files_come_at_once(plain_bucket, small_disk):
    plain_bucket.fill({f"extra/{number}": os.urandom(3_000_000) for number in range(12)})
    lowest, done = [SPARE_BYTES * 100], Event()

    def watch() -> None:
        while not done.wait(0.0005):
            status = os.statvfs(small_disk)
            lowest[0] = min(lowest[0], status.f_bavail * status.f_frsize)

    watching = Thread(target=watch)
    watching.start()
    try:
        recovery = plain_bucket.recover(small_disk / "logs")
    finally:
        done.set()
        watching.join()
    assert recovery.ending is Ending.STOPPED
    assert content(small_disk / "logs"), "nothing was brought at all"
    assert lowest[0] > SPARE_BYTES - 1_000_000, "pages, folders and our state take a little"
