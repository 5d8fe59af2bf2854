"""Cutting a plain dump as psql would, without psql."""

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.sql_script import Command, Data, DataEnd, Piece, Script, Statement

HEAD = b"--\n-- PostgreSQL database dump\n--\n\n"
TAIL = b"\n--\n-- PostgreSQL database dump complete\n--\n\n"


def pieces(body: bytes, size: int = 7) -> list[Piece]:
    """Cut, from chunks of that size, with neighbouring data joined."""
    whole = HEAD + body + TAIL
    chunks = (whole[at : at + size] for at in range(0, len(whole), size))
    return list(_joined(Script(chunks).pieces()))


def _joined(found: Iterator[Piece]) -> Iterator[Piece]:
    data = b""
    for each in found:
        if isinstance(each, Data):
            data += each.lines
            continue
        if isinstance(each, DataEnd):
            yield Data(data)
            data = b""
        yield each


def texts(body: bytes) -> list[bytes]:
    return [each.text for each in pieces(body) if isinstance(each, Statement)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"SET a = 1;\nSET b = 2;\n", [b"SET a = 1", b"SET b = 2"]),
        (b"SELECT 'a;b';", [b"SELECT 'a;b'"]),
        (b"SELECT 'it''s; -- no';", [b"SELECT 'it''s; -- no'"]),
        (b"SELECT E'\\';--';SELECT 2;", [b"SELECT E'\\';--'", b"SELECT 2"]),
        (b"SELECT 'C:\\';SELECT 2;", [b"SELECT 'C:\\'", b"SELECT 2"]),
        (b'SELECT 1 AS "a;""b";', [b'SELECT 1 AS "a;""b"']),
        (b"DO $x$ a; $$ b; $x$;SELECT 2;", [b"DO $x$ a; $$ b; $x$", b"SELECT 2"]),
        (b"SELECT a$b$c;SELECT $1;", [b"SELECT a$b$c", b"SELECT $1"]),
        (b"SELECT 1 -- no; end\n + 2;", [b"SELECT 1 \n + 2"]),
        (b"SELECT /* ; /* ; */ ' */ 1;", [b"SELECT   1"]),
        (
            b"CREATE RULE r AS DO (SELECT 1; SELECT 2);",
            [b"CREATE RULE r AS DO (SELECT 1; SELECT 2)"],
        ),
        (
            (
                b"CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN b END; SELECT 2;END;"
                b"SELECT 3;"
            ),
            [
                b"CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN b END; SELECT 2;END",
                b"SELECT 3",
            ],
        ),
        (b"BEGIN;\nCOMMIT;\n", [b"BEGIN", b"COMMIT"]),
        (b";;\n;", []),
    ],
)
def test_statements_end_where_psql_would_end_them(body: bytes, expected: list[bytes]) -> None:
    assert texts(body) == expected


def test_a_function_body_may_hold_lines_that_look_like_commands() -> None:
    body = b"CREATE FUNCTION f() AS $$\n\\! rm -rf /\n\\connect x\n$$;\n"

    assert texts(body) == [body.strip()[:-1]]


def test_table_data_comes_whole_and_lines_are_counted() -> None:
    body = b"COPY t (a) FROM stdin;\n1\n\\\\.\n2\\.\n\\.\nSELECT 1;\n\\connect x\n"

    assert pieces(body) == [
        Statement(5, b"COPY t (a) FROM stdin", takes_data=True),
        Data(b"1\n\\\\.\n2\\.\n"),
        DataEnd(9),
        Statement(10, b"SELECT 1"),
        Command(11, b"\\connect x"),
    ]


@given(
    rows=st.lists(
        st.binary(max_size=12).map(lambda each: each.replace(b"\n", b"").replace(b"\\", b"\\\\"))
    ),
    size=st.integers(1, 40),
)
def test_data_is_the_same_however_it_is_chunked(rows: list[bytes], size: int) -> None:
    data = b"".join(row + b"\n" for row in rows)
    found = pieces(b"COPY t FROM stdin;\n" + data + b"\\.\nSELECT 1;\n", size)

    assert found[1] == Data(data)
    assert isinstance(found[3], Statement)
    assert found[3].line == 5 + len(rows) + 2


def test_a_row_longer_than_any_buffer_needs_no_newline_to_pass() -> None:
    row = b"x" * 300_000

    assert pieces(b"COPY t FROM stdin;\n" + row + b"\n\\.\n", 1000)[1] == Data(row + b"\n")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"COPY t FROM stdin;\n1\n2\n", "end of the table's data"),
        (b"SELECT 'a\n", "end of a statement"),
        (b"CREATE FUNCTION f() AS $$ x\n", "end of a statement"),
        (b"SELECT 1\n", "end of a statement"),
        (b"SELECT 1 \\gexec\n", "no backslash inside a statement"),
        (b"COPY t FROM stdin; SELECT 1;\n", "data on the line after COPY"),
    ],
)
def test_what_does_not_end_is_said_with_its_line(body: bytes, complaint: str) -> None:
    with pytest.raises(BadInput, match=f"line 5: .*{complaint}"):
        pieces(body)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.99])
def test_a_dump_that_was_cut_off_is_never_taken_for_a_whole_one(cut: float) -> None:
    whole = HEAD + b"SELECT 1;\n" * 50 + b"COPY t FROM stdin;\n1\n\\.\n" + TAIL
    # the last newlines and the closing dashes say nothing
    part = whole.rstrip(b"-\n")[: int(len(whole) * cut)][:-1]

    with pytest.raises(BadInput):
        list(Script([part]).pieces())


def test_a_dump_of_all_databases_is_whole_only_with_its_own_end() -> None:
    cluster = b"--\n-- PostgreSQL database cluster dump\n--\n\n\\connect a\n" + HEAD + TAIL
    end = b"--\n-- PostgreSQL database cluster dump complete\n--\n"

    script = Script([cluster, end])
    assert list(script.pieces()) == [Command(5, b"\\connect a")]
    assert script.is_cluster
    with pytest.raises(BadInput, match="cut off"):
        list(Script([cluster]).pieces())


@given(st.binary(max_size=200))
def test_any_bytes_are_cut_or_refused(body: bytes) -> None:
    with suppress(BadInput):
        assert all(each.line >= 5 for each in pieces(body) if isinstance(each, Statement))


def test_a_statement_that_says_from_stdin_again_and_again_costs_no_more_than_its_length() -> None:
    hostile = b"COPY t" + b" FROM STDIN" * 100_000 + b" ''"

    began = time.process_time()
    (found,) = pieces(hostile + b";\n", size=100_000)

    assert isinstance(found, Statement)
    assert not found.takes_data
    assert time.process_time() - began < 2
