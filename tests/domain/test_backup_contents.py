"""Looking into a dump's text: every altered or missing record is found, and nothing is guessed."""

import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.backup_contents import Contents, Inside, Span, inspect
from tasks.domain.copy_text import CopiedRow, NoLogError, copied_rows
from tasks.domain.errors import BadInput
from tasks.domain.insert_text import values_of
from tests.domain.ledger.sample_log import chained, plain_leaf

LINES = chained(12)
LEAVES = b"".join(map(plain_leaf, LINES))
HEAD = "--\n-- PostgreSQL database dump\n--\n\n"
TAIL = "\n--\n-- PostgreSQL database dump complete\n--\n\n"
HEADER = "COPY public.audit_records (seq, record, leaf, event_type) FROM stdin;"


def row(seq: int, record: bytes, leaf: bytes | None = None) -> str:
    shown = (leaf or plain_leaf(record)).hex()
    return f"{seq}\t\\\\x{record.hex()}\t\\\\x{shown}\tannotation"


def block(rows: Iterable[str], header: str = HEADER) -> list[str]:
    return [header, *rows, "\\.", ""]


def genuine(count: int = len(LINES)) -> list[str]:
    return [row(seq, line) for seq, line in enumerate(LINES[:count])]


def read(text: Sequence[str], database: str = "", piece: int = 1 << 20) -> list[CopiedRow]:
    data = (HEAD + "\n".join(text) + TAIL).encode()
    return list(copied_rows([data[at : at + piece] for at in range(0, len(data), piece)], database))


def looked(text: Sequence[str], leaves: bytes = LEAVES, at_least: int = 0) -> Contents:
    return inspect(read(text), leaves, at_least=at_least, heads=(3, 8, 12))


def test_a_dump_as_it_was_signed_is_clean_and_says_how_far_it_reaches() -> None:
    found = looked(["SET client_encoding = 'UTF8';", *block(genuine(9))])
    assert (found.status, found.size, found.checkpoint, found.beyond) == (Inside.CLEAN, 9, 8, 0)
    assert found.last_at is not None
    assert found.last_at.isoformat() == "2026-03-14T03:00:00+00:00"


def test_rows_after_the_signed_head_are_judged_by_nobody() -> None:
    found = looked(block(genuine()), LEAVES[: 10 * 32])
    assert (found.status, found.size, found.beyond) == (Inside.CLEAN, 10, 2)


def test_what_is_inside_says_how_far_it_goes() -> None:
    said = str(looked(block(genuine()), LEAVES[: 10 * 32]))
    assert said == (
        "clean, its last signed record is of 2026-03-14 03:00:00Z, it reaches the signed head of 8 "
        "records, 2 rows after the newest head are judged by nobody"
    )
    assert str(Contents(Inside.CLEAN, size=9)) == "clean"


ALTERED = chained(12, event_type="altered")


@pytest.mark.parametrize(
    ("rows", "altered", "missing"),
    [
        ([*genuine()[:4], row(4, ALTERED[4]), *genuine()[5:]], (Span(4, 1),), ()),
        ([*genuine()[:4], *genuine()[6:]], (), (Span(4, 2),)),
        ([*genuine(), row(4, LINES[4])], (Span(4, 1),), ()),
        ([row(0, LINES[1]), row(1, LINES[0]), *genuine()[2:]], (Span(0, 2),), ()),
        ([row(0, LINES[0], bytes(32)), *genuine()[1:]], (Span(0, 1),), ()),
        (["0\t\\N\t\\N\t\\N", *genuine()[1:]], (Span(0, 1),), ()),
        ([row(3, LINES[3])], (), (Span(0, 3),)),
    ],
    ids=["altered", "missing", "twice", "swapped", "other leaf", "null", "alone"],
)
def test_every_difference_is_named(
    rows: list[str], altered: tuple[Span, ...], missing: tuple[Span, ...]
) -> None:
    found = looked(block(rows))
    assert found.status is Inside.POISONED
    assert (found.altered, found.missing) == (altered, missing)


def test_a_record_before_the_first_one_poisons_too() -> None:
    found = looked(block([*genuine(), row(-1, LINES[0])]))
    assert (found.status, found.altered_records) == (Inside.POISONED, 1)


def test_what_the_manifest_promises_and_the_dump_lacks_is_missing() -> None:
    found = looked(block(genuine(9)), at_least=11)
    assert (found.status, found.missing, found.size) == (Inside.POISONED, (Span(9, 2),), 11)
    assert looked(block([]), at_least=12).missing_records == 12
    assert "12 records missing (0..11)" in str(looked(block([]), at_least=12))


@given(
    st.lists(st.integers(-2, 14), max_size=30),
    st.sets(st.integers(0, 11)),
    st.integers(0, 12),
    st.integers(0, 14),
)
def test_clean_means_each_record_once_as_signed_and_nothing_else(
    seqs: list[int], hurt: set[int], signed: int, at_least: int
) -> None:
    rows = [
        CopiedRow(seq, LINES[seq % 12] + b" " * (seq in hurt), plain_leaf(LINES[seq % 12]))
        for seq in seqs
    ]
    found = inspect(rows, LEAVES[: signed * 32], at_least=at_least)
    judged = [seq for seq in seqs if seq < signed]
    end = max([min(at_least, signed), *(seq + 1 for seq in judged)])
    clean = sorted(judged) == list(range(end)) and not hurt & set(judged)
    assert (found.status is Inside.CLEAN) is clean
    assert found.beyond == len(seqs) - len(judged)
    named = sum(span.count for span in found.altered)
    assert named + sum(seq < 0 for seq in judged) == found.altered_records


# the text


@given(st.integers(1, 300))
def test_rows_are_the_same_however_the_text_is_cut(piece: int) -> None:
    text = ["COPY public.notes (text) FROM stdin;", "x", "\\.", "", *block(genuine(5))]
    assert read(text, piece=piece) == read(text)


def inserts(count: int, columns: str = "") -> list[str]:
    return [
        f"INSERT INTO public.audit_records {columns}VALUES "
        f"({seq}, '\\x{line.hex()}', '\\x{plain_leaf(line).hex()}', 'it''s; (', NULL);"
        for seq, line in enumerate(LINES[:count])
    ]


TABLE = [
    "CREATE TABLE public.audit_records (",
    "    seq bigint NOT NULL,",
    "    record bytea NOT NULL,",
    '    "leaf" bytea,',
    "    event_type text,",
    '    "user id" text,',
    "    CONSTRAINT audit_records_seq_check CHECK ((seq >= 0))",
    ");",
]


@pytest.mark.parametrize(
    "text",
    [
        [*TABLE, *inserts(9)],
        inserts(9, '(seq, record, leaf, event_type, "user id") '),
        inserts(9, '(seq, record, leaf, event_type, "user id") OVERRIDING SYSTEM VALUE '),
        [
            *TABLE,
            "INSERT INTO public.audit_records VALUES",
            ",\n".join(each.partition("VALUES ")[2].removesuffix(";") for each in inserts(9))
            + " ON CONFLICT DO NOTHING;",
        ],
    ],
    ids=["inserts", "column-inserts", "identity", "rows-per-insert"],
)
def test_a_dump_of_inserts_is_read_like_one_of_copies(text: list[str]) -> None:
    assert read(text) == read(block(genuine(9)))
    assert looked([*text[:-1], text[-1].replace(LINES[8].hex(), LINES[7].hex())]).altered == (
        Span(8, 1),
    )


def test_values_are_what_was_inserted() -> None:
    text = b"VALUES ('it''s; (', NULL, -3),\n\t('', DEFAULT, true) ON CONFLICT DO NOTHING"
    assert list(values_of(text)) == [[b"it's; (", None, b"-3"], [b"", None, b"true"]]


def test_what_stands_in_a_string_or_a_function_is_no_block() -> None:
    traps = [
        "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS $$",
        *("COPY x FROM stdin;", HEADER, "$$;"),
        "COMMENT ON TABLE public.x IS '",
        *(HEADER, row(0, LINES[1]), "';"),
    ]
    assert read([*traps, *block(genuine(5))]) == read(block(genuine(5)))


def test_a_column_whose_name_must_be_quoted_changes_nothing() -> None:
    header = 'COPY public.audit_records (seq, record, leaf, "user, ""x""") FROM stdin;'
    assert read(block(genuine(5), header)) == read(block(genuine(5)))


def test_columns_may_come_in_any_order_and_leaf_may_be_missing() -> None:
    header = "COPY public.audit_records (record, event_type, seq) FROM stdin;"
    rows = [f"\\\\x{line.hex()}\tx\t{seq}" for seq, line in enumerate(LINES)]
    assert looked(block(rows, header)).status is Inside.CLEAN


def test_a_long_line_of_another_table_is_passed_over_in_pieces() -> None:
    other = ["COPY public.notes (text) FROM stdin;", "x" * 5_000, "\\.", ""]
    found = read([*other, *block(genuine(2))], piece=1024)
    assert [each.seq for each in found] == [0, 1]


def test_of_a_dump_of_all_databases_only_the_named_one_counts() -> None:
    text = ["\\connect other", *block(genuine(3)), "\\connect rlhf_audit", *block(genuine(5))]
    assert len(read(text, "rlhf_audit")) == 5
    with pytest.raises(NoLogError):
        read(text, "elsewhere")
    by_inserts = [
        "\\connect other",
        *TABLE,
        *inserts(3),
        "\\connect rlhf_audit",
        *block(genuine(5)),
    ]
    assert read(by_inserts, "rlhf_audit") == read(block(genuine(5)))


def test_a_row_without_an_end_is_not_gathered_in_memory() -> None:
    with pytest.raises(BadInput, match="expected rows of at most 8388608 bytes"):
        read(block(["0" * 10_000_000]))


@pytest.mark.parametrize(
    "text",
    [
        [HEADER, *genuine()],
        [HEADER, *genuine()[:3], genuine()[3][:50]],
        ["COPY public.notes (text) FROM stdin;", "something"],
        ["COPY public.notes (text) FROM stdin;", *block(genuine()), "\\.", ""],
        ["\\! id", *block(genuine())],
        ["SELECT 'never ends;", *block(genuine())],
        inserts(2),  # nobody says which column is which
        [*TABLE, inserts(2)[0].replace("VALUES (0", "VALUES (0, 1")],
        [*TABLE, inserts(2)[0].replace("VALUES (0", "VALUES (now()")],
        [*TABLE, "INSERT INTO public.audit_records SELECT 1;"],
        [*TABLE, inserts(2)[0].replace("NULL);", "NULL) RETURNING seq;")],
        block(genuine(), "COPY public.audit_records (seq, record, record) FROM stdin;"),
        block(genuine(), "COPY public.audit_records FROM stdin;"),
        block(genuine(), "COPY public.audit_records (seq, \"record\") FROM PROGRAM 'id';"),
        block(["0\t\\\\000\\\\001\t\\N\tx"]),
        block(["0\t\\\\x0g\t\\N\tx"]),
        block(["0\t\\\\x0\t\\N\tx"]),
        block(["nought\t\\\\x00\t\\N\tx"]),
        block(["9" * 4_000 + "\t\\\\x00\t\\N\tx"]),
        block(["0\t\\\\x00"]),
    ],
)
def test_text_that_is_cut_off_or_can_be_read_in_two_ways_is_refused(text: list[str]) -> None:
    with pytest.raises(BadInput) as refused:
        read(text)
    assert not isinstance(refused.value, NoLogError)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1500


@pytest.mark.parametrize(
    "text", [[""], ["SELECT 1;"], TABLE, ["INSERT INTO public.audit_records_old VALUES (1);"]]
)
def test_a_dump_without_the_table_has_no_log(text: list[str]) -> None:
    with pytest.raises(NoLogError):
        read(text)


@given(
    st.lists(st.sampled_from([HEADER, "\\.", "COPY public.x (a) FROM stdin;", row(0, LINES[0])]))
)
def test_any_order_of_lines_is_read_or_refused(text: list[str]) -> None:
    try:
        found = len(read([*text, ""]))
    except BadInput:
        found = 0
    assert found <= text.count(row(0, LINES[0]))


def test_fifty_thousand_records_are_judged_in_well_under_two_seconds() -> None:
    lines = [line.ljust(435) for line in chained(200)]
    many = [lines[seq % 200] for seq in range(50_000)]
    leaves = b"".join(map(plain_leaf, many))
    body = "\n".join(block(row(*each) for each in enumerate(many)))
    text = (HEAD + body + TAIL).encode()
    chunks = [text[at : at + (1 << 20)] for at in range(0, len(text), 1 << 20)]
    began = time.process_time()
    found = inspect(copied_rows(chunks), leaves)
    assert time.process_time() - began < 1.5
    assert (found.status, found.size) == (Inside.CLEAN, 50_000)
