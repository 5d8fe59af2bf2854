"""Keys, targets and moments that want a recovery to write elsewhere, or to leave half of it."""

import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256

import pytest

from tasks.clients.errors import Conflict
from tasks.clients.local_errors import DiskFull
from tasks.clients.local_folder import open_folder
from tasks.domain.local_paths import Why
from tasks.work.log_recovery import Ending
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, chained, sealed_files
from tests.tasks.log_recovery.buckets import PREFIX, content

pytestmark = pytest.mark.components

FILES = sealed_files(chained(300))
SEGMENT = "seg/0-300.jsonl.zst"


def test_hostile_keys_are_refused_by_name_and_the_log_comes_back(bucket, tmp_path):
    """`..`, NUL and backslashes are not among them: this server takes no such keys."""
    bucket.fill(FILES)
    hostile = {
        "checkpoints/300/x": Why.FILE_AND_FOLDER,
        "new\nline": Why.CONTROL,
        "\x1b]0;title\x07": Why.CONTROL,
        "turned\u202egpj.exe": Why.CONTROL,
        "long" * 70: Why.TOO_LONG,
        ".unfinished-recovery/state.jsonl": Why.RESERVED,
    }
    bucket.fill(dict.fromkeys(hostile, b"hostile"))
    harmless = {
        "SEG/0-300.jsonl.zst": b"not a name of the log",
        "caf\u00e9": b"first",
        "cafe\u0301": b"second",
        "notes/a b*?.txt": b"odd",
    }
    bucket.fill(harmless)
    bucket.put("folder/", b"")
    recovery = bucket.recover(tmp_path / "logs")
    assert {
        each.key.removeprefix(PREFIX): each.why for each in recovery.mirrored.refused
    } == hostile
    assert content(tmp_path / "logs") == FILES | harmless
    assert recovery.mirrored.folder_marks == 1
    assert recovery.ending is Ending.UNCLEAR
    assert "6 keys were refused" in recovery.reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs"]
    said = json.dumps(recovery.as_json())
    assert said.isascii()
    assert said.isprintable()


def test_a_link_in_the_target_leads_nowhere(bucket, tmp_path):
    bucket.fill(FILES)
    outside, target = tmp_path / "outside", tmp_path / "logs"
    outside.mkdir()
    target.mkdir()
    (outside / "300").write_text("precious")
    (target / "checkpoints").symlink_to(outside)
    (target / "seg").mkdir()
    (target / SEGMENT).symlink_to(outside / "300")
    recovery = bucket.recover(target)
    assert recovery.ending is not Ending.VERIFIED
    assert {each.path for each in recovery.mirrored.failed} == {"checkpoints/300", SEGMENT}
    assert content(outside) == {"300": b"precious"}
    assert (target / SEGMENT).is_symlink()


def test_our_own_folder_is_not_followed_where_it_is_a_link(bucket, tmp_path):
    bucket.fill(FILES)
    (tmp_path / "outside").mkdir()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / ".unfinished-recovery").symlink_to(tmp_path / "outside")
    with pytest.raises(Exception, match="move away what is there"):
        bucket.recover(tmp_path / "logs")
    assert list((tmp_path / "outside").iterdir()) == []


def test_files_that_are_not_ours_stay_and_are_listed(bucket, tmp_path):
    bucket.fill(FILES)
    mine = {"notes.txt": b"mine", "seg/my own": b"too", SEGMENT: b"somebody's work"}
    for path, data in mine.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert recovery.mirrored.extra == ["notes.txt", "seg/my own"]
    ((_, aside),) = recovery.mirrored.aside
    assert content(tmp_path) == FILES | {
        "notes.txt": b"mine",
        "seg/my own": b"too",
        aside: b"somebody's work",
    }


def test_what_is_no_longer_listed_stays_too(bucket, tmp_path):
    bucket.fill(FILES | {"notes.txt": b"of the bucket"})
    bucket.recover(tmp_path)
    bucket.delete("notes.txt")
    recovery = bucket.recover(tmp_path)
    assert recovery.mirrored.gone == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_bytes() == b"of the bucket"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda _: b"",
        lambda text: b"\0" * 100 + text,
        lambda text: text.replace(b'"', b"'"),
        lambda _: b"[" * 100_000,
    ],
    ids=["cut off", "empty", "zeros", "no JSON", "deep"],
)
def test_a_state_that_is_damaged_costs_time_and_nothing_else(bucket, tmp_path, damage):
    bucket.fill(FILES)
    bucket.recover(tmp_path)
    state = tmp_path / ".unfinished-recovery" / "state.jsonl"
    state.write_bytes(damage(state.read_bytes()))
    again = bucket.recover(tmp_path)
    assert (again.ending, again.mirrored.aside) == (Ending.VERIFIED, [])
    assert content(tmp_path) == FILES
    assert bucket.recover(tmp_path).mirrored.fetched == 0


def test_a_state_that_lies_is_found_out_by_the_proof(bucket, tmp_path):
    """It says of an altered file that this is what was fetched; the signed tree says otherwise."""
    bucket.fill(FILES)
    bucket.recover(tmp_path)
    state = tmp_path / ".unfinished-recovery" / "state.jsonl"
    tile = "tile/0/001.p/44"
    altered = bytes(44 * 32)
    kept = [json.loads(line) for line in state.read_bytes().splitlines()]
    for entry in kept[1:]:
        if entry[0] == tile:
            entry[2] = sha256(altered).hexdigest()
    state.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
    (tmp_path / tile).write_bytes(altered)
    again = bucket.recover(tmp_path)
    assert again.ending is Ending.VERIFIED, again.reason
    assert [each.path for each in again.mends.put] == [tile]
    assert content(tmp_path) == FILES


def test_one_directory_is_filled_by_one_process_at_a_time(bucket, tmp_path):
    bucket.fill(FILES)
    with open_folder(tmp_path), pytest.raises(Conflict, match="another process"):
        bucket.recover(tmp_path)


_RECOVER = """
import sys
from pathlib import Path
from pydantic import SecretStr
from tasks.sections.systems import StoreSettings
from tasks.work.log_recovery import Proof, recover
from tasks.work.recovery_sources import Source
url, bucket, target, key, origin = sys.argv[1:]
from tasks.domain.ledger import Trust
store = StoreSettings(endpoint_url=url, access_key_id=SecretStr("tester"),
                      secret_access_key=SecretStr("tester-secret"))
print(recover(Source(bucket, "audit-logs/"), Path(target), store,
              Proof(trust=Trust.in_key(key, origin))).ending.value)
"""


def test_a_run_that_was_killed_half_way_is_gone_on_with(plain_bucket, tmp_path):
    many = {
        f"tile/0/x{number // 1000:03d}/{number % 1000:03d}": os.urandom(64)
        for number in range(1000, 3000)
    }
    plain_bucket.fill(FILES | many)
    arguments = [plain_bucket.settings.endpoint_url, plain_bucket.name, str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", _RECOVER, *arguments, SIGNER.verifier.encoded, ORIGIN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    state = tmp_path / ".unfinished-recovery" / "state.jsonl"
    deadline = time.monotonic() + 120
    while not (state.exists() and state.stat().st_size > 3_000):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = content(tmp_path)
    assert 0 < len(found) < len(many), "it was not killed half-way"
    assert all((FILES | many)[path] == data for path, data in found.items())
    recovery = plain_bucket.recover(tmp_path)
    assert recovery.mirrored.unchanged > 0
    assert recovery.mirrored.files == len(FILES | many)
    assert recovery.mirrored.aside == []
    assert content(tmp_path) == FILES | many
    assert sorted(each.name for each in state.parent.iterdir()) == ["lock", "state.jsonl"]


def test_a_disk_that_is_full_stops_it_cleanly_and_it_goes_on_with_more_room(bucket, small_disk):
    large = {f"extra/{number}": os.urandom(3_000_000) for number in range(12)}
    bucket.fill(FILES | large)
    stopped = bucket.recover(small_disk / "logs")
    assert stopped.ending is Ending.STOPPED
    assert "run it again" in stopped.reason
    found = content(small_disk / "logs")
    assert 0 < len(found) < len(FILES | large)
    assert all((FILES | large)[path] == data for path, data in found.items())
    subprocess.run(["mount", "-o", "remount,size=120m", small_disk], check=True)
    recovery = bucket.recover(small_disk / "logs")
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert recovery.mirrored.unchanged == stopped.mirrored.fetched
    assert content(small_disk / "logs") == FILES | large


def test_a_disk_that_is_filled_by_somebody_else_meanwhile_stops_it_as_well(bucket, small_disk):
    """No room even for one file, whatever was free a moment ago."""
    bucket.fill(FILES)
    ballast = small_disk / "ballast"
    filled = subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=1M"], check=False)
    assert filled.returncode, "the disk was not filled"
    target = small_disk / "logs"
    target.mkdir()
    with pytest.raises(DiskFull, match="make room"):
        bucket.recover(target)
    ballast.unlink()
    assert bucket.recover(target).ending is Ending.VERIFIED


@pytest.mark.slow
def test_ten_thousand_keys_come_back(plain_bucket, tmp_path):
    many = {f"s{n % 50}/events/{n:05d}.json": b"{%d}" % n for n in range(10_000)}
    plain_bucket.fill(many)
    recovery = plain_bucket.recover(tmp_path)
    assert recovery.mirrored.fetched == 10_000
    assert content(tmp_path) == many
