"""Whether a restored database is sound: pages, indexes, counts, constraints."""

from collections.abc import Iterator

import psycopg
import pytest

from deployments.lab.postgres import binaries
from tasks.clients.postgres_instance import Instance, throwaway
from tasks.domain.errors import NotProven
from tasks.work.instance_place import instance_place
from tasks.work.soundness import Soundness, Weight, check

pytestmark = pytest.mark.components

MAKE = """
CREATE TABLE t (a integer PRIMARY KEY, b text);
INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 3000) n;
CREATE TABLE "Odd name" (a integer);
INSERT INTO "Odd name" VALUES (1), (2);
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with instance_place("sound") as place, throwaway(place, binaries=binaries()) as instance:
        instance.create_role("owner")
        yield instance


@pytest.fixture
def dsn(instance: Instance) -> Iterator[str]:
    instance.create_database("sound", "owner")
    with psycopg.connect(instance.dsn("sound"), autocommit=True) as connection:
        connection.execute("SET ROLE owner")
        connection.execute(MAKE)
    yield instance.dsn("sound")
    with psycopg.connect(instance.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE sound WITH (FORCE)")


def test_a_sound_database_has_no_problems(dsn: str) -> None:
    found = check(dsn, binaries(), rows={"public.t": 3000, 'public."Odd name"': 2}, install=True)

    assert found == Soundness()
    assert found.require() == ()


def test_pages_that_were_altered_on_the_disk_stop_the_restore(instance: Instance, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        asked = "SELECT pg_relation_filepath('t'), pg_relation_filepath('t_pkey')"
        row = connection.execute(asked).fetchone()
    assert row is not None
    instance.stop(clean=True)
    for name in row:
        path = instance.data / name
        content = bytearray(path.read_bytes())
        content[8192 + 100 : 8192 + 140] = b"\xff" * 40
        path.write_bytes(bytes(content))
    instance.start({**instance.settings, "ignore_checksum_failure": "on"})

    found = check(dsn, binaries(), install=True)

    assert {each.weight for each in found.problems} == {Weight.STOPS}
    assert any("public.t" in each.what for each in found.problems)
    assert any("t_pkey" in each.what for each in found.problems)
    with pytest.raises(NotProven, match="choose another backup; production is untouched"):
        found.require()


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ({"public.t": 3001}, r"table public\.t has 3000 rows of 3001"),
        ({"public.gone": 1}, r"table public\.gone with 1 rows is missing"),
        ({'public."Odd name"': 0}, r"has 2 rows of 0"),
    ],
)
def test_a_table_that_lacks_rows_stops_the_restore(
    dsn: str, rows: dict[str, int], what: str
) -> None:
    with pytest.raises(NotProven, match=what):
        check(dsn, binaries(), rows=rows).require()


def test_what_the_dump_had_already_is_told_with_its_remedy(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 5) NOT VALID")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY i ON t ((1))")

    notes = check(dsn, binaries(), install=True).require()

    assert notes == (
        "constraint c on public.t was never validated: ALTER TABLE public.t VALIDATE CONSTRAINT c",
        "index public.i is invalid and unused: REINDEX INDEX public.i",
    )


def test_without_the_right_to_install_amcheck_it_is_said_and_the_rest_is_checked(
    instance: Instance,
    dsn: str,
) -> None:
    as_owner = instance.dsn("sound", "owner")

    found = check(as_owner, binaries(), rows={"public.t": 3000}, install=True)
    assert found.problems == ()
    assert "may not install it" in found.skipped[0]

    check(dsn, binaries(), install=True)
    assert "not granted" in check(as_owner, binaries()).skipped[0]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO owner")
    assert check(as_owner, binaries()) == Soundness()
