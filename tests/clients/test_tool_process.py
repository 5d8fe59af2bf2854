"""Programs that read what strangers made: bounded, and gone with whoever wanted them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.lab.environment import PROJECT
from deployments.lab.postgres import binaries
from tasks.clients import dump_tools
from tasks.clients.errors import Malformed, Transient
from tasks.clients.kept_process import Bounds, printed, start_kept
from tasks.clients.leftovers import runs
from tasks.clients.postgres import connect
from tasks.clients.postgres_instance import throwaway
from tasks.clients.tool_process import failure, output_of, run
from tasks.work.instance_place import instance_place
from tasks.work.redumping import redump

_OWNER = """
import subprocess, sys
from tasks.clients.tool_process import output_of
command = ["/bin/sh", "-c", "setsid sleep 96 & echo $!; sleep 95"]
with output_of(command, 60, stdin=subprocess.DEVNULL, uid=None) as out:
    print(out.readline().decode().strip(), flush=True)
    out.read()
"""


def shell(script: str, seconds: float = 20) -> bytes:
    command = ["/bin/sh", "-c", script]
    with output_of(command, seconds, stdin=subprocess.DEVNULL, uid=None) as out:
        return out.read()


def ended(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not runs(pid)


def test_what_it_prints_comes_whole() -> None:
    assert shell("echo one; echo two") == b"one\ntwo\n"


def test_a_reader_that_fails_does_not_wait_for_a_silent_program() -> None:
    began = time.monotonic()
    with (
        pytest.raises(ValueError, match="no dump"),
        output_of(["/bin/sleep", "30"], 25, stdin=subprocess.DEVNULL, uid=None),
    ):
        raise ValueError("no dump")
    assert time.monotonic() - began < 10


def test_a_program_that_fails_is_the_news_though_its_reader_failed_as_well() -> None:
    with (
        pytest.raises(Malformed, match="status 3: it broke"),
        output_of(
            ["/bin/sh", "-c", "echo half; echo it broke >&2; exit 3"],
            20,
            stdin=subprocess.DEVNULL,
            uid=None,
        ) as out,
    ):
        raise ValueError(f"expected the other half, found {out.read()!r}")


def test_time_that_ran_out_is_no_damage() -> None:
    with pytest.raises(Transient, match="still at work"):
        shell("sleep 30", 0.5)
    with pytest.raises(Transient, match="still at work"):
        run(["/bin/sleep", "30"], "", 0.5)


def test_complaints_without_end_do_not_fill_the_disk() -> None:
    with pytest.raises(Malformed):
        shell("while :; do cat /bin/sh >&2 || exit 4; done")


def test_nothing_that_it_started_outlives_its_use() -> None:
    left = int(shell("setsid sleep 94 >/dev/null 2>&1 & echo $!"))
    assert ended(left)


def test_nothing_outlives_an_owner_that_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    left = int(owner.stdout.readline())
    assert runs(left)
    owner.kill()
    owner.communicate()
    assert ended(left)


def test_bounds_hold_from_the_first_instruction_on() -> None:
    bounds = Bounds(memory_mb=500, cpu_seconds=7, file_mb=3)
    started = start_kept(
        ["/bin/cat", "/proc/self/limits"], env={}, stdout=subprocess.PIPE, bounds=bounds
    )
    lines = printed(started, 20, 10_000).decode().splitlines()
    found = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    assert found["Max address space"] == ["524288000", "524288000"]
    assert found["Max cpu time"] == ["7", "7"]
    assert found["Max file size"] == ["3145728", "3145728"]
    assert found["Max core file size"] == ["0", "0"]


def test_more_output_than_is_wanted_ends_it() -> None:
    started = start_kept(["/bin/cat", "/dev/zero"], env={}, stdout=subprocess.PIPE)
    with pytest.raises(TimeoutError, match="1000 bytes"):
        printed(started, 20, 1000)
    assert started.poll() is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's programs read what that user may")
def test_a_table_of_contents_that_names_another_file_reads_none_of_ours(
    directory_archive: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("1\tsecret\tsecret\n\\.\n\n\n")
    secret.chmod(0o600)
    data = next(each for each in directory_archive.glob("*.dat") if each.name != "toc.dat")
    contents = directory_archive / "toc.dat"
    old, new = data.name.encode(), f"../{secret.name}".encode()
    text = contents.read_bytes()
    at = text.index(old)
    length = len(new).to_bytes(4, "little")
    contents.write_bytes(text[: at - 4] + length + new + text[at + len(old) :])
    with (
        pytest.raises(Malformed),
        dump_tools.table_as_text(
            directory_archive, "audit_records", timeout_seconds=20, binaries=binaries()
        ) as out,
    ):
        assert b"secret\tsecret" not in out.read()


@pytest.fixture
def directory_archive(tmp_path: Path) -> Path:
    """An uncompressed archive in directory format of a table with one row."""
    with instance_place("x") as place, throwaway(place, binaries=binaries()) as instance:
        with connect(instance.dsn("postgres"), timeout_seconds=5) as connection:
            connection.execute(
                "CREATE TABLE public.audit_records (seq int, record text, leaf text)"
            )
            connection.execute("INSERT INTO public.audit_records VALUES (1, 'r', 'l')")
        return redump(instance, instance.dsn("postgres"), place, tmp_path / "archive")


def test_rows_that_a_program_quotes_are_in_no_error() -> None:
    complaint = """pg_restore: error: could not execute query: ERROR:  duplicate key value
DETAIL:  Key (m)=(alice@example.org) already exists.
pg_restore: error: COPY failed for table "p": ERROR:  invalid input syntax for type integer: "alice"
CONTEXT:  COPY p, line 1, column n: "alice"
pg_restore: detail: Failing row contains (alice).
Command was: INSERT INTO p VALUES ('alice');"""

    found = str(failure("pg_restore", 1, complaint))

    assert "alice" not in found
    assert "duplicate key value" in found
    assert 'table "p"' in found
