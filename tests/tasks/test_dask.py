"""Verification over a real Dask cluster: killed workers, wrong ones, and nobody at all."""

import os
import pickle
import shutil
import signal
import time
from functools import partial

import pytest

from tasks.clients.errors import Transient
from tasks.clients.object_store import ObjectStore
from tasks.crews import hashing_crew
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Status
from tasks.sections.systems import StoreSettings
from tasks.settings import settings
from tasks.work.log_directory import DirectoryLog
from tasks.work.log_store import ObjectLog
from tasks.work.placed_shards import PlacedStore, PlacedTree
from tasks.work.signed_tree import signed_tree
from tasks.work.store_check import StoreCheck
from tasks.work.verification import verify_log
from tests.domain.ledger import large_log
from tests.domain.ledger.sample_log import TRUST, packed
from tests.tasks.dask_clusters import ROOT, cluster, crew_of, make_certificates

READY = "import tasks.work.dask_crew, tasks.work.placed_shards, tasks.work.verification\n"
"""Loaded before the first shard, so that its beginning and its end are close together."""

DYING = (
    READY
    + """
import os, signal, time
import tasks.work.dask_crew as crew

def dying(job):
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)

crew.answer_or_failure = dying
"""
)
"""A worker that is killed in the middle of its first shard."""

LYING = (
    READY
    + """
import tasks.work.dask_crew as crew
from tasks.domain.ledger.shard_answers import encode_part
from tasks.work.maker import sound_maker
honest = crew.honest = getattr(crew, 'honest', crew.answer_or_failure)  # loaded twice by Dask

def altered(job):
    {}

crew.answer_or_failure = altered
"""
)

LIES = {
    "another type": "return {'verdict': 'verified'}",
    "another range": """
    from dataclasses import replace
    other = replace(job.shard, begin=job.shard.begin + 1, end=job.shard.end + 1)
    done, beside = job.compare(job.work)
    return encode_part(other, sound_maker(), (done, beside))""",
    "an answer of another night": """
    from dataclasses import replace
    return encode_part(replace(job.shard, run='0' * 32), sound_maker(), job.compare(job.work))""",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    root = tmp_path_factory.mktemp("log")
    for path, data in large_log.files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A cluster with one good worker, to which tests add another."""
    with cluster(tmp_path_factory.mktemp("dask"), 0) as started:
        started.add(preload=READY)
        yield started


def told(verdict):
    return {**verdict.as_json(), "seconds": 0}


def note(seen, done, due):
    assert due == large_log.SIZE
    seen.append(done)


def without(good, pid):
    """Stop the worker that a test has added."""
    process = next(each for each in good.workers if each.pid == pid)
    process.kill()
    process.wait()


def test_a_cluster_says_exactly_what_one_process_says(good, directory, tmp_path):
    damaged = tmp_path / "log"
    shutil.copytree(directory, damaged)
    lines = list(large_log.lines()[: large_log.BLOCK])
    lines[0] = lines[0].replace(b'"session_id":"s"', b'"session_id":"x"')
    del lines[-3:]
    (damaged / "seg/0-65536.jsonl.zst").write_bytes(packed(lines))
    for root in (directory, damaged):
        alone = verify_log(DirectoryLog(root), TRUST)
        seen: list[int] = []
        with crew_of(good, 1, rechecked=2) as crew:
            over = verify_log(DirectoryLog(root), TRUST, partial(note, seen), crew=crew)
        assert told(over) == told(alone)
        assert seen[-1] == over.records
        assert crew.again == []


def test_a_worker_killed_in_the_middle_has_its_shard_done_again_and_that_is_said(
    good, directory, caplog
):
    alone = verify_log(DirectoryLog(directory), TRUST)
    pid = good.add(preload=DYING)
    with crew_of(good, 2) as crew:
        over = verify_log(DirectoryLog(directory), TRUST, crew=crew)
    killed = next(each for each in good.workers if each.pid == pid)
    assert killed.wait(timeout=10) == -signal.SIGKILL
    assert told(over) == told(alone)
    assert [each.why for each in crew.again] == ["its worker is gone"]
    assert "done again" in caplog.text
    assert crew.again[0].worker in caplog.text


@pytest.mark.slow
def test_without_any_worker_left_it_ends_soon_and_says_what_to_do(tmp_path, directory):
    with cluster(tmp_path / "dask", 0) as started:
        for _ in range(2):
            started.add(preload=DYING)
        began = time.monotonic()
        with crew_of(started, 2, lost_seconds=2.0) as crew:
            began = time.monotonic()
            with pytest.raises(Transient, match=r"found nobody for 2 s.*start workers"):
                verify_log(DirectoryLog(directory), TRUST, crew=crew)
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_it_soon_too(tmp_path, directory):
    with cluster(tmp_path / "dask", 0) as started, crew_of(started, 0, lost_seconds=3.0) as crew:
        os.kill(started.scheduler.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(Transient, match="Dask"):
            verify_log(DirectoryLog(directory), TRUST, crew=crew)
        assert time.monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_a_worker_whose_answer_does_not_count_is_left_out(good, directory, lie):
    alone = verify_log(DirectoryLog(directory), TRUST)
    pid = good.add(preload=LYING.format(LIES[lie]))
    with crew_of(good, 2) as crew:
        over = verify_log(DirectoryLog(directory), TRUST, crew=crew)
    without(good, pid)
    assert told(over) == told(alone)
    assert len({each.worker for each in crew.again}) == 1
    assert all("expected" in each.why for each in crew.again)


@pytest.mark.slow
def test_other_code_another_kernel_and_one_that_hashes_wrongly_are_left_out(
    good, directory, tmp_path
):
    alone = verify_log(DirectoryLog(directory), TRUST)
    shutil.copytree(ROOT / "tasks", tmp_path / "other" / "tasks")
    with (tmp_path / "other/tasks/work/store_check.py").open("a") as file:
        file.write("# of another version\n")
    kernel = "import tasks.domain.ledger.kernel as k\ntype(k.KERNEL).name = 'other'\n"
    wrong = (
        "import tasks.domain.ledger.hashing as h\nh.right = getattr(h, 'right', h.pair_hashes)\n"
    )
    wrong += "h.pair_hashes = lambda level: h.right(level)[:-1] + bytes(1)\n"
    for preload, root, expected in (
        (READY, tmp_path / "other", "run the same image"),
        (kernel + READY, ROOT, "run the same image"),
        (wrong + READY, ROOT, "root of the RFC 6962 vector"),
    ):
        pid = good.add(preload=preload, root=root)
        with crew_of(good, 2) as crew:
            over = verify_log(DirectoryLog(directory), TRUST, crew=crew)
        without(good, pid)
        assert told(over) == told(alone)
        assert len({each.worker for each in crew.again}) == 1
        assert all(expected in each.why for each in crew.again)


@pytest.mark.slow
def test_with_wrong_workers_alone_nothing_is_said_of_the_log(tmp_path, directory):
    with cluster(tmp_path / "dask", 0) as started:
        started.add(preload=LYING.format("return honest(job)[:-1]"))
        with crew_of(started, 1) as crew, pytest.raises(NotProven, match="workers left out: tcp"):
            verify_log(DirectoryLog(directory), TRUST, crew=crew)


@pytest.mark.slow
def test_a_worker_that_calls_damaged_records_good_is_found_by_hashing_some_again(
    tmp_path, directory
):
    damaged = tmp_path / "log"
    shutil.copytree(directory, damaged)
    for path, first in (("seg/0-65536.jsonl.zst", 0), ("seg/65536-65536.jsonl.zst", 65_536)):
        lines = [each.replace(b'"s"', b'"x"') for each in large_log.lines()[first:][:65_536]]
        (damaged / path).write_bytes(packed(lines))
    copies = f"""
    from dataclasses import replace
    from pathlib import Path
    from tasks.work.log_places import DirectoryPlace
    good = replace(job.work.tree, place=DirectoryPlace(Path({str(directory)!r})))
    return encode_part(job.shard, sound_maker(), job.compare(replace(job.work, tree=good)))"""
    with cluster(tmp_path / "dask", 0) as started:
        started.add(preload=LYING.format(copies))
        refused = pytest.raises(NotProven, match=r"called records .* as signed, this process finds")
        with crew_of(started, 1, rechecked=3) as crew, refused:
            verify_log(DirectoryLog(damaged), TRUST, crew=crew)


def test_what_is_sent_to_workers_holds_no_secret(directory):
    kept = StoreSettings(
        endpoint_url="http://127.0.0.1:1", access_key_id="key-id-1", secret_access_key="hidden-1"
    )
    log = ObjectLog(ObjectStore(kept), "the-bucket", "audit-logs/")
    head = TRUST.open((directory / f"checkpoints/{large_log.SIZE}").read_text()).checkpoint
    signed, _ = signed_tree(DirectoryLog(directory), head)
    store = StoreCheck(log, TRUST, signed, {}, ())
    work = PlacedStore.of(PlacedTree.of(log, head, signed), store, 0, 3)
    for sent in (pickle.dumps(work), repr(work).encode()):
        assert b"the-bucket" in sent
        assert b"key-id-1" not in sent
        assert b"hidden-1" not in sent


@pytest.mark.slow
def test_over_tls_only_who_has_a_certificate_of_the_clusters_authority_takes_part(
    tmp_path, directory, monkeypatch
):
    ours, others = (make_certificates(tmp_path / name) for name in ("ours", "others"))
    with cluster(tmp_path / "dask", 1, ours) as started:
        monkeypatch.setenv("RUNBOOK_DASK__SCHEDULER", started.address)
        monkeypatch.setenv("RUNBOOK_DASK__CONNECT_SECONDS", "3")
        for folder in (ours, others):
            for name in ("ca", "cert", "key"):
                monkeypatch.setenv(f"RUNBOOK_DASK__{name.upper()}_FILE", str(folder / name))
            settings.cache_clear()
            if folder == ours:
                with hashing_crew() as crew:
                    verdict = verify_log(DirectoryLog(directory), TRUST, crew=crew)
                assert verdict.status is Status.VERIFIED
            else:
                refused = pytest.raises(Transient, match="no Dask scheduler answers")
                with refused, hashing_crew():
                    pass
