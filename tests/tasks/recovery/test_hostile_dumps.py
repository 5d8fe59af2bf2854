"""What an attacker writes into a dump: refused, or run without rights and left out, and said.

Loaded and screened in one throw-away instance, each in a database of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from deployments.lab.postgres import binaries
from tasks.clients.errors import Transient
from tasks.clients.postgres_instance import Instance, throwaway
from tasks.clients.script_loader import Target, load_script
from tasks.domain.errors import BadInput, NotProven, RunbookError
from tasks.domain.screening import Reference
from tasks.domain.sql_script import Script
from tasks.work.instance_place import instance_place
from tasks.work.screening import read_reference, screen

pytestmark = pytest.mark.components

END = b"--\n-- PostgreSQL database dump complete\n--\n"


@dataclass
class Ward:
    """A throw-away instance, and a database in it for each test."""

    instance: Instance
    number: int = 0

    def take(self, script: bytes, reference: Reference | None = None) -> tuple[str, list[str]]:
        """Load and screen a script; the owner's DSN and the notes."""
        self.number += 1
        name = f"ward_{self.number}"
        self.instance.create_database(name, "loader")
        owner = self.instance.dsn(name, "loader")
        target = Target(owner, self.instance.dsn(name), name, statement_seconds=20, seconds=30)
        load = load_script(Script([script]), target)
        return owner, [*load.notes, *screen(owner, reference or Reference()).notes]


@pytest.fixture(scope="module")
def ward() -> Iterator[Ward]:
    with instance_place("ward") as place, throwaway(place, binaries=binaries()) as instance:
        instance.create_role("loader")
        yield Ward(instance)


def script(*statements: str) -> bytes:
    body = "".join(f"{each}\n" for each in statements).encode()
    return b"--\n-- PostgreSQL database dump\n--\n\n" + body + b"\n" + END


TABLE = "CREATE TABLE public.t (a integer);"


@pytest.mark.parametrize(
    "line",
    [
        r"\! touch {mark}",
        r"\copy public.t FROM PROGRAM 'touch {mark}'",
        r"\o |touch {mark}",
        r"SELECT 1 \g |touch {mark}",
        "COPY public.t FROM PROGRAM 'touch {mark}';",
        "COPY public.t FROM '/etc/passwd';",
        "COPY (SELECT 1) TO PROGRAM 'touch {mark}';",
        "DO $$ BEGIN EXECUTE 'COPY public.t FROM PROGRAM ''touch {mark}'''; END $$;",
        "SELECT pg_catalog.lo_export(1, '{mark}');",
        "ALTER SYSTEM SET archive_command = 'touch {mark}';",
        "SET standard_conforming_strings = off;",
    ],
)
def test_what_no_dump_program_writes_is_refused_unrun(
    ward: Ward, tmp_path: Path, line: str
) -> None:
    mark = tmp_path / "mark"

    with pytest.raises(BadInput, match="line 6"):
        ward.take(script(TABLE, line.replace("{mark}", str(mark))))

    assert not mark.exists()


RUNS = (
    "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NEW; END $$;"
)
FIRES = "CREATE TRIGGER x BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();"
ROW = "INSERT INTO public.t VALUES (1);"


@pytest.mark.parametrize(
    "code",
    [
        "COPY public.t FROM PROGRAM 'touch {mark}';",
        "PERFORM pg_read_file('/etc/passwd');",
        "PERFORM lo_import('/etc/passwd');",
        "SET ROLE postgres;",
        "SET SESSION AUTHORIZATION postgres;",
        "ALTER ROLE loader SUPERUSER;",
        "CREATE EXTENSION file_fdw;",
        "GRANT pg_execute_server_program TO loader;",
    ],
)
def test_code_that_runs_while_loading_has_no_rights(ward: Ward, tmp_path: Path, code: str) -> None:
    mark = tmp_path / "mark"
    body = code.replace("{mark}", str(mark))

    with pytest.raises(RunbookError, match=r"permission denied|must be|superuser|Only roles"):
        ward.take(script(TABLE, RUNS.format(body), FIRES, ROW))

    assert not mark.exists()


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        ((TABLE, RUNS.format("")), "function public.f()"),
        ((TABLE, RUNS.format(""), FIRES), "trigger x ON public.t"),
        ((TABLE, "CREATE RULE r AS ON INSERT TO public.t DO ALSO NOTHING;"), "rule r ON public.t"),
        ((TABLE, "CREATE VIEW public.v AS SELECT 1 AS a;"), "view public.v"),
        (
            (TABLE, "CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS a WITH NO DATA;"),
            "view public.m",
        ),
        ((TABLE, "CREATE POLICY p ON public.t USING (false);"), "row policy p ON public.t"),
        ((TABLE, "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;"), "row security public.t"),
        (("CREATE TABLE public.t (a text DEFAULT pg_read_file('/x'));",), "default public.t.a"),
        (
            ("CREATE TABLE public.t (a text DEFAULT query_to_xml('', true, true, '')::text);",),
            "default",
        ),
        (
            (
                "CREATE DOMAIN public.d AS text DEFAULT pg_read_file('/etc/passwd');",
                "CREATE TABLE public.t (a public.d);",
            ),
            "domain default public.d",
        ),
        (
            (
                "CREATE TABLE public.k (a int PRIMARY KEY);",
                "CREATE TABLE public.t (a int REFERENCES public.k ON DELETE CASCADE);",
            ),
            "foreign key t_a_fkey ON public.t",
        ),
        (
            (TABLE, "CREATE TABLE public.more () INHERITS (public.t);"),
            "inheritance public.more ON public.t",
        ),
        (("CREATE TABLE public.t (a int CHECK (pg_terminate_backend(a)));",), "check t_a_check"),
        (
            (
                "CREATE FUNCTION public.g(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';",
                TABLE,
                "CREATE INDEX i ON public.t (public.g(a));",
            ),
            "index public.i",
        ),
        (("CREATE UNLOGGED TABLE public.t (a integer);",), "unlogged storage public.t"),
        (
            (TABLE, "GRANT ALL ON TABLE public.t TO PUBLIC;"),
            "grant INSERT ON TABLE public.t TO PUBLIC",
        ),
        (
            (TABLE, "GRANT UPDATE (a) ON TABLE public.t TO eve;"),
            "grant UPDATE (a) ON TABLE public.t",
        ),
        ((TABLE, "GRANT CREATE ON SCHEMA public TO PUBLIC;"), "grant CREATE ON SCHEMA public"),
        (
            (
                "CREATE FUNCTION public.h(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1';",
                "CREATE OPERATOR public.+ (FUNCTION = public.h, LEFTARG = int, RIGHTARG = int);",
                TABLE,
            ),
            "operator public.+",
        ),
        (
            (
                "CREATE FUNCTION public.s() RETURNS int SECURITY DEFINER RETURN 1;",
                TABLE,
            ),
            "function public.s()",
        ),
        (
            (TABLE, "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.f();"),
            "event",
        ),
        ((TABLE, "CREATE EXTENSION dblink;"), "extension 'dblink'"),
        ((TABLE, "CREATE PUBLICATION p FOR ALL TABLES;"), "publication"),
        ((TABLE, "CREATE SERVER s FOREIGN DATA WRAPPER w;"), "foreign server"),
        ((TABLE, "CREATE ROLE eve SUPERUSER;"), "a role"),
        ((TABLE, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;"), "default privileges"),
    ],
)
def test_what_nobody_knows_is_left_out_and_said(
    ward: Ward, statements: tuple[str, ...], kind: str
) -> None:
    owner, notes = ward.take(script(*statements))

    assert any(kind in note and "left out" in note for note in notes), notes
    left = read_reference(owner, timeout_seconds=5).known
    assert {
        name for kind, name, _ in left if kind not in {"check", "default", "index", "table"}
    } == {"USAGE ON SCHEMA public TO PUBLIC"}
    with psycopg.connect(owner) as connection:
        assert connection.execute(
            "SELECT relpersistence FROM pg_class WHERE relname = 't'"
        ).fetchone() == ("p",)


def test_what_production_has_stays_and_what_was_altered_goes(ward: Ward) -> None:
    genuine = (TABLE, RUNS.format(""), FIRES, "GRANT SELECT ON TABLE public.t TO reader;")
    known = Reference()
    owner, _ = ward.take(script(TABLE))
    with psycopg.connect(owner, autocommit=True) as production:
        production.execute(RUNS.format(""))
        production.execute(FIRES)
    with psycopg.connect(ward.instance.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE reader")
    with psycopg.connect(owner, autocommit=True) as production:
        production.execute("GRANT SELECT ON TABLE public.t TO reader")
    known = read_reference(owner, timeout_seconds=5)

    _, kept = ward.take(script(*genuine), known)
    altered = (TABLE, RUNS.format("NEW.a := 0;"), *genuine[2:])
    _, left = ward.take(script(*altered), known)

    assert kept == []
    assert "function public.f() is left out: it is not as in production" in left
    assert any("production has what the restored database lacks" in note for note in left)


def test_a_safe_default_or_check_that_was_altered_or_added_does_not_stay(ward: Ward) -> None:
    production, _ = ward.take(script("CREATE TABLE public.t (a int DEFAULT 1 CHECK (a >= 0));"))
    known = read_reference(production, timeout_seconds=5)

    owner, notes = ward.take(
        script(
            "CREATE TABLE public.t (a int DEFAULT 0 CONSTRAINT t_a_check CHECK (a >= -9));",
            "ALTER TABLE public.t ADD CONSTRAINT stop CHECK (false) NOT VALID;",
            "CREATE TABLE public.u (a int DEFAULT 3 CHECK (a > 0));",
        ),
        known,
    )

    for gone in ("default public.t.a", "check t_a_check ON public.t", "check stop ON public.t"):
        assert any(note.startswith(f"{gone} is left out") for note in notes), notes
    left = {(kind, name) for kind, name, _ in read_reference(owner, timeout_seconds=5).known}
    assert {("default", "public.u.a"), ("check", "u_a_check ON public.u")} <= left
    assert not {("default", "public.t.a"), ("check", "stop ON public.t")} & left


def test_a_function_with_its_owners_rights_is_not_opened_to_everybody(ward: Ward) -> None:
    function = "CREATE FUNCTION public.purge() RETURNS int SECURITY DEFINER RETURN 1;"
    production, _ = ward.take(script(TABLE))
    with psycopg.connect(production, autocommit=True) as connection:
        connection.execute(function)
        connection.execute("REVOKE ALL ON FUNCTION public.purge() FROM PUBLIC")

    owner, notes = ward.take(script(TABLE, function), read_reference(production, timeout_seconds=5))

    assert any("EXECUTE ON ROUTINE public.purge() TO PUBLIC is left out" in note for note in notes)
    with psycopg.connect(owner) as connection:
        assert connection.execute(
            "SELECT bool_or(g.grantee = 0) FROM pg_proc, aclexplode(proacl) g"
            " WHERE proname = 'purge'"
        ).fetchone() == (False,)


def test_a_schema_that_stands_before_public_is_refused(ward: Ward) -> None:
    with pytest.raises(NotProven, match=r"postgres\.t"):
        ward.take(script(TABLE, "CREATE SCHEMA postgres;", "CREATE TABLE postgres.t (a int);"))


def test_a_column_that_goes_with_unknown_code_ends_it_although_the_dump_silences_notices(
    ward: Ward,
) -> None:
    name = f"ward_{ward.number + 1}"
    silence = RUNS.format(f"EXECUTE 'ALTER DATABASE {name} SET client_min_messages = error';")
    budget = (
        "CREATE FUNCTION public.d(int, int) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT 1.0';",
        "CREATE TYPE public.r AS RANGE (subtype = int, subtype_diff = public.d);",
        "CREATE TABLE public.budget (id int, spent public.r);",
    )

    with pytest.raises(NotProven, match="column spent of table"):
        ward.take(script(TABLE, silence, FIRES, ROW, *budget))


def test_what_a_row_holds_is_in_no_error(ward: Ward) -> None:
    table = "CREATE TABLE public.p (n integer CHECK (n > 0), m text UNIQUE);"
    copied = (table, "COPY public.p (n, m) FROM stdin;", "alice@example.org\tx", "\\.")
    for lines in (
        copied,
        (table, "INSERT INTO public.p VALUES ('alice@example.org', 'x');"),
        (table, "INSERT INTO public.p VALUES (-1, 'alice@example.org');"),
    ):
        with pytest.raises(RunbookError, match="line ") as refused:
            ward.take(script(*lines))
        assert "alice" not in str(refused.value)


def test_a_load_that_catches_every_cancellation_is_ended(ward: Ward) -> None:
    code = (
        "PERFORM set_config('statement_timeout', '0', false); LOOP BEGIN PERFORM pg_sleep(99);"
        " EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;"
    )
    ward.instance.create_database("stubborn", "loader")
    owner = ward.instance.dsn("stubborn", "loader")
    target = Target(owner, ward.instance.dsn("stubborn"), "stubborn", seconds=1)

    with pytest.raises(Transient, match="within 1 s"):
        load_script(Script([script(TABLE, RUNS.format(code), FIRES, ROW)]), target)


def test_statements_after_a_change_to_another_database_are_counted(ward: Ward) -> None:
    moved = script(TABLE, "\\connect postgres", "CREATE TABLE public.u (a int);")

    _, notes = ward.take(moved)

    assert any("1 statements for database 'postgres' are left out" in note for note in notes)


def test_time_limits_hold_although_the_dump_switches_them_off(ward: Ward) -> None:
    endless = RUNS.format(
        "PERFORM set_config('statement_timeout', '0', false); PERFORM pg_sleep(99);"
    )

    ward.instance.create_database("slow", "loader")
    owner = ward.instance.dsn("slow", "loader")
    target = Target(owner, ward.instance.dsn("slow"), "slow", statement_seconds=0.5, seconds=9)

    with pytest.raises(RunbookError, match="statement timeout"):
        load_script(Script([script(TABLE, endless, FIRES, ROW)]), target)


def test_a_load_without_end_is_stopped_in_time(ward: Ward) -> None:
    off = RUNS.format("PERFORM set_config('statement_timeout', '0', false); PERFORM pg_sleep(1);")
    ward.instance.create_database("late", "loader")
    owner = ward.instance.dsn("late", "loader")
    target = Target(owner, ward.instance.dsn("late"), "late", statement_seconds=20, seconds=2)

    with pytest.raises(Transient, match="within 2 s"):
        load_script(Script([script(TABLE, off, FIRES, *[ROW] * 20)]), target)


def test_only_the_configured_database_is_taken_out_of_a_dump_of_all(ward: Ward) -> None:
    head = b"--\n-- PostgreSQL database cluster dump\n--\n\nCREATE ROLE eve SUPERUSER;\n"
    wanted = f"\\connect ward_{ward.number + 1}\n".encode() + script(TABLE, ROW)
    other = b"\\connect other\n" + script(
        "CREATE TABLE public.u ();", "COPY public.u FROM stdin;", "\\."
    )
    end = b"--\n-- PostgreSQL database cluster dump complete\n--\n"

    owner, notes = ward.take(head + other + wanted + other + end)

    with psycopg.connect(owner) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid > 16384"
        )
        assert tables.fetchall() == [("t",)]
    assert any(
        "roles and tablespaces are left out, and the databases 'other'" in note for note in notes
    )
    with pytest.raises(NotProven, match="expected database"):
        ward.take(head + other + end)


def test_a_dump_of_another_database_is_refused(ward: Ward) -> None:
    with pytest.raises(NotProven, match="found one of 'elsewhere'"):
        ward.take(b"--\n-- PostgreSQL database dump\n--\n\n\\connect elsewhere\n" + script(TABLE))
