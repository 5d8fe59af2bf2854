"""Throw-away instances: private, bounded, and gone whatever happens to their owner."""

import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deployments.lab.environment import PROJECT
from deployments.lab.postgres import binaries
from tasks.clients.errors import ClientError, NotFound, Transient
from tasks.clients.instance_limits import Limits
from tasks.clients.leftovers import at_work_in, runs
from tasks.clients.postgres import connect
from tasks.clients.postgres_instance import Instance, throwaway
from tasks.clients.server_user import NOBODY
from tasks.domain.errors import Refused
from tasks.work.instance_place import instance_place

pytestmark = pytest.mark.components

_OWNER = """
import sys, time
from pathlib import Path
from tasks.clients.postgres_instance import throwaway
from tasks.work.instance_place import instance_place
with instance_place("killed") as place, throwaway(place, binaries=Path(sys.argv[1])) as instance:
    print(instance.directory, flush=True)
    print(sys.stdin.readline())
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with instance_place("INC-1") as place, throwaway(place, binaries=binaries()) as made:
        yield made


def _value(instance: Instance, query: str, role: str = "postgres") -> str:
    with connect(instance.dsn("postgres", role), timeout_seconds=5) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def _gone(directory: Path, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while at_work_in(directory) and time.monotonic() < until:
        time.sleep(0.05)
    return not at_work_in(directory)


def test_the_only_way_in_is_a_socket_in_a_private_directory(instance: Instance) -> None:
    assert _value(instance, "SELECT current_setting('listen_addresses')") == ""
    assert instance.socket.stat().st_mode & 0o777 == 0o700
    assert instance.data.stat().st_mode & 0o777 == 0o700
    assert instance.directory.stat().st_mode & 0o007 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_stranger_cannot_reach_the_socket(instance: Instance) -> None:
    knock = (
        "import os, psycopg, sys; os.setgroups([]); os.setgid(1234); os.setuid(1234);"
        "psycopg.connect(sys.argv[1], connect_timeout=5)"
    )
    tried = subprocess.run(
        [sys.executable, "-c", knock, instance.dsn("postgres")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode != 0
    assert "Permission denied" in tried.stderr


def test_a_role_that_loads_dumps_is_no_superuser_and_reads_no_files(instance: Instance) -> None:
    instance.create_role("loader")
    instance.create_database("loaded", "loader")
    with connect(instance.dsn("loaded", "loader"), timeout_seconds=5) as connection:
        connection.execute("CREATE TABLE public.t ()")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY public.t TO PROGRAM 'id'")
    with pytest.raises(ClientError, match="permission denied"):
        _value(instance, "SELECT pg_read_file('/etc/hostname')", "loader")


def test_it_is_fast_at_first_and_durable_after_the_restart() -> None:
    with instance_place("x") as place, throwaway(place, binaries=binaries()) as fast:
        assert _value(fast, "SELECT current_setting('fsync')") == "off"
        with connect(fast.dsn("postgres"), timeout_seconds=5) as connection:
            connection.execute("CREATE TABLE public.kept AS SELECT 7 AS n")
        fast.restart_durably()
        shown = "SELECT current_setting('fsync') || current_setting('full_page_writes')"
        assert _value(fast, shown) == "onon"
        assert _value(fast, "SELECT n FROM public.kept") == "7"


def test_nothing_is_left_after_use() -> None:
    with instance_place("x") as place:
        with throwaway(place, binaries=binaries()) as used:
            assert used.alive()
        assert list(place.iterdir()) == []
        assert not used.alive()
    assert not place.exists()


def test_a_killed_owner_leaves_no_process_and_the_next_use_wipes_its_data() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(binaries())],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    home = Path(owner.stdout.readline().strip())
    assert at_work_in(home)
    owner.kill()
    owner.communicate()
    assert _gone(home)
    with instance_place("next"):
        assert not home.parent.exists()


def test_a_use_that_goes_on_is_not_swept(instance: Instance) -> None:
    with instance_place("next"):
        assert _value(instance, "SELECT 1") == "1"


def test_an_instance_that_grows_past_its_disk_is_stopped_and_says_so() -> None:
    limits = Limits(disk_bytes=120 * 1024**2)
    grow = "CREATE TABLE public.t AS SELECT repeat(n::text, 300) FROM generate_series(1, 1000000) n"
    with (
        instance_place("x") as place,
        pytest.raises(Refused, match="at most 125829120 bytes on disk"),
        throwaway(place, binaries=binaries(), limits=limits) as greedy,
    ):
        _value(greedy, grow)


def test_an_instance_that_takes_too_much_memory_fails_alone() -> None:
    limits = Limits(memory_mb=128)
    hoard = (
        "SELECT array_length(array_agg(repeat('x', 1000000) || n), 1)"
        " FROM generate_series(1, 3000) n"
    )
    with (
        instance_place("x") as place,
        pytest.raises((Refused, ClientError), match="memory"),
        throwaway(place, binaries=binaries(), limits=limits) as greedy,
    ):
        _value(greedy, hoard)


def test_an_instance_is_stopped_before_the_disk_is_full() -> None:
    limits = Limits(reserve_bytes=1 << 60)
    with (
        instance_place("x") as place,
        pytest.raises(Refused, match="to stay free on the disk"),
        throwaway(place, binaries=binaries(), limits=limits) as greedy,
    ):
        _value(greedy, "SELECT pg_sleep(20)")


def test_an_instances_memory_is_bounded_from_its_start(instance: Instance) -> None:
    pid = (instance.data / "postmaster.pid").read_text().splitlines()[0]
    limits = Path(f"/proc/{pid}/limits").read_text()
    bound = instance.limits.address_space_mb * 1024 * 1024
    assert re.search(rf"Max address space +{bound} +{bound} ", limits)
    assert re.search(r"Max core file size +0 +0 ", limits)


def test_what_left_the_servers_family_ends_with_it() -> None:
    leave = "cat >/dev/null; cd /; setsid sleep 97 >/dev/null 2>&1 & echo $! > "
    with instance_place("x") as place, throwaway(place, binaries=binaries()) as used:
        note = used.data / "left"
        command = f"{leave}{note}"
        with connect(used.dsn("postgres"), timeout_seconds=5) as connection:
            connection.execute(f"COPY (SELECT 1) TO PROGRAM '{command}'".encode())
        left = int(note.read_text())
        assert runs(left)
        assert left in used.processes()
    assert not runs(left)


def test_a_server_that_dies_while_it_starts_is_reported_with_its_last_words() -> None:
    with (
        instance_place("x") as place,
        pytest.raises(Transient, match="no_such_setting"),
        throwaway(place, binaries=binaries(), settings={"no_such_setting": "1"}),
    ):
        pytest.fail("it started")


def test_missing_programs_are_named(tmp_path: Path) -> None:
    with (
        instance_place("x") as place,
        pytest.raises(NotFound, match="program postgres"),
        throwaway(place, binaries=tmp_path),
    ):
        pytest.fail("it started")


def test_no_use_begins_without_room() -> None:
    with pytest.raises(Refused, match="free bytes"), instance_place("x", disk_bytes=1 << 60):
        pytest.fail("it began")


@pytest.mark.parametrize("name", ["../../etc", "", "a\0b", "x" * 5000, "Ünïcode /"])
def test_the_name_of_a_place_leads_nowhere_else(name: str) -> None:
    with instance_place(name) as place:
        assert place.parent.name == f"runbook-pg-{os.getuid()}"
        assert place.name.isascii()
        assert len(place.name) < 30


@pytest.mark.skipif(os.geteuid() != 0, reason="we are a plain user already")
def test_a_plain_user_gets_one_as_well() -> None:
    python = Path(f"/usr/bin/python3.{sys.version_info.minor}")  # ours may lie in a closed home
    if not python.exists():
        pytest.skip(f"no {python}, which everybody may run")
    packages = sysconfig.get_path("purelib")
    made = subprocess.run(
        [python, "-c", _OWNER, str(binaries())],
        cwd=PROJECT,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        input="\n",
        env={"PYTHONPATH": f"{PROJECT}:{packages}", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert f"runbook-pg-{NOBODY}" in made.stdout
