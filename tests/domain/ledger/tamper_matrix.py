"""Attacks on a sealed log as data: what is done to a world, and exactly what must be found.

Expectations are spelled "source CODE", or "source CODE first+count" where the place matters. The
set of (source, code) is always exact; so are the places of every pair that names one.
"""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import zstandard

from tests.domain.ledger.sample_log import plain_leaf
from tests.domain.ledger.tamper_worlds import (
    ANCHORED,
    DEV,
    EVIL,
    FORKED,
    FULL,
    FUTURE,
    GROWN,
    HEAD,
    HOUR,
    LATE_FORK,
    LINES,
    LOG,
    MIB,
    NOW,
    OLD,
    OLDER,
    ORIGIN,
    PARTIAL,
    PLAIN,
    QUORUM,
    SEGMENT,
    SIZE,
    SKIPPABLE,
    STRANGER,
    UPPER,
    W1,
    W2,
    W3,
    Key,
    World,
    attribute,
    both,
    chain,
    drop,
    files,
    flipped,
    frame,
    grow,
    head,
    head_text,
    inserted,
    kilobytes_exactly,
    large_world,
    line,
    link,
    move,
    note,
    nothing,
    put,
    raw_frame,
    record,
    root_of,
    rows,
    segment,
    segments,
    signed,
    small_world,
    stone,
    swapped,
    tiles,
    wide_window,
    without,
)

VERIFIED, TAMPERED, UNVERIFIABLE = "verified", "tampered", "unverifiable"


ASKED = {
    "record": frozenset({"table"}),
    "rows": frozenset({"table"}),
    "tail": frozenset({"table"}),
    "segment": frozenset({"table", "store"}),
}
"""Which sources are asked about attacks that do not touch the others; by default all."""


@dataclass(frozen=True)
class Case:
    """One attack or harmless change."""

    name: str
    do: Callable[[World], object]
    status: str
    expected: tuple[str, ...]
    start: Callable[[], World] = field(default=small_world)

    def world(self) -> World:
        world = self.start().copy()
        world.checks = ASKED.get(self.name.partition(":")[0], world.checks)
        self.do(world)
        return world

    @property
    def pairs(self) -> set[tuple[str, str]]:
        return {(source, code) for source, code, *_ in map(str.split, self.expected)}

    @property
    def places(self) -> set[str]:
        """Those expectations that name a place, one record as "+1"."""
        named = [each for each in self.expected if len(each.split()) == 3]
        return {each if "+" in each else f"{each}+1" for each in named}


CASES: dict[str, Case] = {}


def case(name, do, status, *expected, start=small_world) -> None:
    assert name not in CASES, name
    CASES[name] = Case(name, do, status, expected, start)


# Harmless changes: what must not be called tampered

TAIL = "table UNSIGNED_TAIL 250+50"
OLDER_HEAD = (TAIL, "api AHEAD")  # the head at 300 does not count: the one at 250 is used

case("control: nothing", nothing, VERIFIED)
case("control: normal growth", grow(), VERIFIED, "table UNSIGNED_TAIL 300+8")
case("control: superseded segment gone", drop(OLDER), VERIFIED)
case("control: superseded segment damaged", put(OLDER, b"rot"), VERIFIED)
case("control: superseded tile gone", drop("tile/0/000.p/250"), VERIFIED)
case("control: superseded tile damaged", put("tile/0/000.p/250", flipped(9)), VERIFIED)
case(
    "control: full tile in the place of a partial one",
    both(files(lambda old: old | tiles(chain(512, LINES))), drop(PARTIAL)),
    VERIFIED,
)
case(
    "control: sealing stopped before its checkpoint",
    files(lambda old: old | tiles(GROWN) | segments(GROWN)),
    VERIFIED,
)
case("control: other compression", put(SEGMENT, zstandard.compress(PLAIN, 19)), VERIFIED)
case("control: uncompressed blocks", put(SEGMENT, raw_frame(PLAIN)), VERIFIED)
case("control: a stray file", put("seg/notes.txt", b"x"), VERIFIED, "store STRAY")
case("control: a stray checkpoint", put("checkpoints/latest", b"x"), VERIFIED, "store STRAY")
case("control: files of somebody else", put("readme.txt", b"x"), VERIFIED)
case("control: all three witnesses", head(note(LINES, LOG, W1, W2, W3)), VERIFIED)
case("control: unknown witness too", head(note(LINES, LOG, STRANGER, *QUORUM)), VERIFIED)
case(
    "control: unknown signature lines",
    head(lambda old: old + b"".join(Key("x", n).sign("any\n").encode() for n in range(30, 60))),
    VERIFIED,
)
case(
    "control: an unknown kind of signature",
    head(lambda old: old + "\u2014 later.example {}\n".format("A" * 2400).encode()),
    VERIFIED,
)
case("control: signatures in another order", head(note(LINES, W2, W1, LOG)), VERIFIED)
case(
    "control: an extension line",
    head(signed(head_text(SIZE, root_of(LINES)) + "extension\n", LOG, *QUORUM)),
    VERIFIED,
)
case(
    "control: both keys sign where the log changes keys",
    put("checkpoints/110", note(LINES[:110], OLD, LOG)),
    VERIFIED,
)
case(
    "control: older head that no witness saw",
    put("checkpoints/200", note(LINES[:200], LOG)),
    VERIFIED,
)
case("control: witness's clock is a little ahead", head(note(LINES, at=NOW + 300)), VERIFIED)
case(
    "control: one witness in the far future, two at present",
    head(
        lambda _: (
            note(LINES, LOG, *QUORUM) + W3.sign(head_text(SIZE, root_of(LINES)), NOW * 9).encode()
        )
    ),
    VERIFIED,
)
case("control: no anchor yet", attribute(anchor=b""), VERIFIED)
case("control: anchor of the empty log", attribute(anchor=note([])), VERIFIED)
case("control: the head is the anchor", attribute(anchor=note(LINES)), VERIFIED)
case("control: anchor signed by the retired key", attribute(anchor=note(LINES[:100])), VERIFIED)
case("control: API lags behind", attribute(api=(260, root_of(LINES[:260]))), VERIFIED)
case("control: API shows the empty log", attribute(api=(0, sha256(b"").digest())), VERIFIED)
case(
    "control: API is ahead, the rows agree",
    grow(attribute(api=(305, root_of(GROWN[:305])))),
    VERIFIED,
    "table UNSIGNED_TAIL 300+8",
    "api AHEAD",
)


def _sealed_stone(world):
    """A record was lost, a tombstone put in its place, and the log sealed with it."""
    kept = [*LINES[:280], stone(280, link(LINES[279]), link(LINES[280])), *LINES[281:]]
    world.rows = list(enumerate(kept))
    world.files |= tiles(kept) | segments(kept) | {HEAD: note(kept)}
    world.api = (SIZE, root_of(kept))


case("control: a tombstone that was sealed", _sealed_stone, VERIFIED)
case(
    "control: the log of no records",
    lambda world: vars(world).update(vars(World([], [], {"checkpoints/0": note([])}))),
    VERIFIED,
)

# What no check can see: the reasons for witnesses that do not collude, and for frequent anchors


def _taken(lines, *, heads=(ANCHORED, SIZE), keys=(LOG, *QUORUM)):
    """Whoever holds these keys signs another history, in all places but the anchor."""

    def do(world):
        world.rows = list(enumerate(lines))
        world.files |= tiles(lines) | segments(lines)
        world.files |= {f"checkpoints/{size}": note(lines[:size], *keys) for size in heads}
        world.api = (len(lines), root_of(lines))

    return do


case("limit: log and quorum rewrite what no anchor holds", _taken(LATE_FORK), VERIFIED)
case(
    "limit: the unsigned tail is rewritten and chained",
    grow(lines=chain(308, LINES, session_id="evil")),
    VERIFIED,
    "table UNSIGNED_TAIL 300+8",
)
case(
    "limit: the unsigned tail is cut",
    grow(rows(lambda old: old[:303])),
    VERIFIED,
    "table UNSIGNED_TAIL 300+3",
)

# The table: contents of records

FORM = ("table MODIFIED 9", "table NONCANONICAL 9")
UNREADABLE = ("table MODIFIED 9", "table UNPARSEABLE 9")

for name, change, expected in (
    ("a bit of a value", swapped(b'"session_id":"s0"', b'"session_id":"r0"'), FORM[:1]),
    ("link of the chain", flipped(20, 4), FORM[:1]),
    ("the whole record", lambda _: record(9, link(LINES[8]), data={}), FORM[:1]),
    ("origin", swapped(ORIGIN.encode(), b"audit.example/evil"), FORM[:1]),
    ("case of the link", lambda old: old[:10] + old[10:74].upper() + old[74:], FORM[:1]),
    (
        "key order",
        lambda old: json.dumps(
            dict(sorted(json.loads(old).items(), reverse=True)), separators=(",", ":")
        ).encode(),
        FORM,
    ),
    ("white space", lambda old: json.dumps(json.loads(old), sort_keys=True).encode(), FORM),
    ("a space in front", lambda old: b" " + old, FORM),
    ("CRLF", lambda old: old + b"\r", FORM),
    ("a newline at the end", lambda old: old + b"\n", FORM),
    ("a newline in white space", swapped(b',"data"', b',\n"data"'), FORM),
    (
        "spelling of a number",
        swapped(b'"reward":1.2857142857142858', b'"reward":1.28571428571428580'),
        FORM,
    ),
    ("a number as exponent", swapped(b'"reward":1.2857142857142858', b'"reward":1E0'), FORM),
    ("an escaped letter", swapped(b'"s0"', b'"\\u00730"'), FORM),
    ("an escaped key", swapped(b'"seq"', b'"\\u0073eq"'), FORM),
    ("text beyond ASCII", swapped(b'"s0"', '"\u00df0"'.encode()), FORM),
    ("duplicate key", swapped(b'"seq":9', b'"seq":9,"seq":9'), UNREADABLE),
    ("duplicate escaped key", swapped(b'"seq":9', b'"seq":9,"s\\u0065q":8'), UNREADABLE),
    ("duplicate inner key", swapped(b'"data":{', b'"data":{"reward":2,'), UNREADABLE),
    ("NaN", swapped(b"1.2857142857142858", b"NaN"), UNREADABLE),
    ("Infinity", swapped(b"1.2857142857142858", b"-Infinity"), UNREADABLE),
    ("a number beyond doubles", swapped(b"1.2857142857142858", b"1e999"), UNREADABLE),
    ("an integer of 5,000 digits", swapped(b"1.2857142857142858", b"9" * 5000), UNREADABLE),
    ("a leading zero", swapped(b'"seq":9', b'"seq":09'), UNREADABLE),
    ("BOM", lambda old: b"\xef\xbb\xbf" + old, UNREADABLE),
    ("UTF-16", lambda old: old.decode().encode("utf-16"), UNREADABLE),
    ("invalid UTF-8", swapped(b'"s0"', b'"\xff0"'), UNREADABLE),
    ("overlong UTF-8", swapped(b'"s0"', b'"\xc1\xb30"'), UNREADABLE),
    ("surrogate in UTF-8", swapped(b'"s0"', b'"\xed\xa0\x80"'), UNREADABLE),
    ("NUL at the end", lambda old: old + b"\0", UNREADABLE),
    ("NUL in a text", swapped(b'"s0"', b'"s\x000"'), UNREADABLE),
    ("newline in a text", swapped(b'"s0"', b'"s\n0"'), UNREADABLE),
    ("deep nesting", lambda _: b'{"a":' + b"[" * 100_000, UNREADABLE),
    (
        "nesting one too deep",
        swapped(b'"data":{', b'"data":{"a":' + b"[" * 63 + b"]" * 63 + b","),
        UNREADABLE,
    ),
    ("two records in one row", lambda old: old + LINES[10], UNREADABLE),
    ("two records on two lines", lambda old: old + b"\n" + LINES[10], UNREADABLE),
    ("another JSON value", lambda _: b"null", UNREADABLE),
    ("NULL, read as the empty record", lambda _: b"", UNREADABLE),
    ("half the record", lambda old: old[: len(old) // 2], UNREADABLE),
    ("1 MiB + 1", lambda old: old[:-2] + b"x" * (MIB + 1 - len(old)) + old[-2:], UNREADABLE),
    ("bytes of the leaf", plain_leaf, UNREADABLE),
    ("prefix of the leaf in front", lambda old: b"\0" + old, UNREADABLE),
    ("inner node", lambda _: plain_leaf(LINES[8]) + plain_leaf(LINES[9]), UNREADABLE),
    (
        "inner node with its prefix",
        lambda _: b"\1" + plain_leaf(LINES[8]) + plain_leaf(LINES[9]),
        UNREADABLE,
    ),
    ("seq in the line", swapped(b'"seq":9', b'"seq":8'), (*FORM[:1], "table SEQ_MISMATCH 9")),
    ("seq as a float", swapped(b'"seq":9', b'"seq":9.0'), (*FORM[:1], "table SEQ_MISMATCH 9")),
    ("seq as a text", swapped(b'"seq":9', b'"seq":"9"'), (*FORM[:1], "table SEQ_MISMATCH 9")),
    ("seq is missing", swapped(b'"seq":9,', b""), (*FORM[:1], "table SEQ_MISMATCH 9")),
    (
        "seq in a deep value",
        swapped(b'"seq":9,', b'"seq":' + b"[" * 50 + b"]" * 50 + b","),
        (*FORM[:1], "table SEQ_MISMATCH 9"),
    ),
    (
        "negative zero",
        swapped(b'"seq":9', b'"seq":-0'),
        (*FORM, "table SEQ_MISMATCH 9"),
    ),
    (
        "tombstone of the record",
        lambda _: stone(9, link(LINES[8]), link(LINES[9])),
        ("table LOST 9",),
    ),
    ("tombstone of another record", lambda _: stone(9, link(LINES[8]), link(LINES[10])), FORM[:1]),
    ("tombstone that knows nothing", lambda _: stone(9, link(LINES[8]), ""), FORM[:1]),
    (
        "tombstone with its leaf in capitals",
        lambda _: stone(9, link(LINES[8]), link(LINES[9]).upper()),
        FORM[:1],
    ),
    (
        "tombstone with a duplicate key",
        lambda _: stone(9, link(LINES[8]), link(LINES[9])).replace(b'"seq":9', b'"seq":9,"seq":9'),
        UNREADABLE,
    ),
    (
        "tombstone under another seq",
        lambda _: stone(8, link(LINES[8]), link(LINES[9])),
        ("table LOST 9", "table SEQ_MISMATCH 9"),
    ),
):
    case(f"record: {name}", line(9, change), TAMPERED, *expected)

# The table: which records, in what order

SHIFTED = ("table REORDERED 40+259", "table SEQ_MISMATCH 40+259", "table TRUNCATED 299")
EXTREMES = {"-1, as NULL is read": -1, "-2^63": -(2**63)}

case(
    "rows: rewritten from 100 and chained anew",
    rows(lambda _: enumerate(FORKED)),
    TAMPERED,
    "table MODIFIED 100+200",
)
case(
    "rows: another environment, sound in itself",
    rows(lambda _: enumerate(DEV)),
    TAMPERED,
    "table MODIFIED 0+300",
)
case("rows: one deleted", without(40), TAMPERED, "table DELETED 40")
case("rows: the first deleted", without(0), TAMPERED, "table DELETED 0")
case("rows: two adjacent deleted", without(40, 41), TAMPERED, "table DELETED 40+2")
case(
    "rows: every second deleted",
    without(*range(1, 11, 2)),
    TAMPERED,
    *(f"table DELETED {seq}" for seq in range(1, 11, 2)),
)
case(
    "rows: one deleted, its neighbour chained over the gap",
    both(line(41, record(41, link(LINES[39]))), without(40)),
    TAMPERED,
    "table DELETED 40",
    "table MODIFIED 41",
)
case(
    "rows: one deleted, the rest renumbered",
    rows(lambda old: [(seq - (seq > 40), each) for seq, each in old if seq != 40]),
    TAMPERED,
    *SHIFTED,
)
case(
    "rows: one inserted, the rest renumbered",
    rows(
        lambda old: [
            *old[:290],
            (290, record(290, "0" * 64)),
            *((seq + 1, each) for seq, each in old[290:]),
        ]
    ),
    TAMPERED,
    "table MODIFIED 290",
    "table REORDERED 291+9",
    "table SEQ_MISMATCH 291+10",
    "table CHAIN_BREAK 300",
    "table UNSIGNED_TAIL 300+1",
)
case("rows: the last deleted", without(299), TAMPERED, "table TRUNCATED 299")
case(
    "rows: an old, genuine backup restored",
    rows(lambda old: old[:260]),
    TAMPERED,
    "table TRUNCATED 260+40",
)
case("rows: all deleted", rows(lambda _: []), TAMPERED, "table TRUNCATED 0+300")
case("rows: all but the last deleted", rows(lambda old: old[299:]), TAMPERED, "table DELETED 0+299")
case(
    "rows: neighbours exchange contents",
    both(line(5, LINES[6]), line(6, LINES[5])),
    TAMPERED,
    "table REORDERED 5+2",
    "table SEQ_MISMATCH 5+2",
)
case(
    "rows: distant ones exchange contents",
    both(line(5, LINES[200]), line(200, LINES[5])),
    TAMPERED,
    "table REORDERED 5",
    "table REORDERED 200",
    "table SEQ_MISMATCH 5",
    "table SEQ_MISMATCH 200",
)
case(
    "rows: one content in two places",
    line(6, LINES[5]),
    TAMPERED,
    "table REORDERED 6",
    "table SEQ_MISMATCH 6",
)
case(
    "rows: neighbours come in the wrong order",
    rows(lambda old: [*old[:5], old[6], old[5], *old[7:]]),
    TAMPERED,
    "table REORDERED 5",
)
case(
    "rows: all come backwards",
    rows(reversed),
    TAMPERED,
    *(f"table REORDERED {seq}" for seq in range(299)),
)
case("rows: one twice", inserted(8, (7, LINES[7])), TAMPERED, "table INSERTED 7")
case(
    "rows: one three times", inserted(8, (7, LINES[7]), (7, LINES[7])), TAMPERED, "table INSERTED 7"
)
case("rows: one twice, far away", inserted(300, (7, LINES[7])), TAMPERED, "table INSERTED 7")
case(
    "rows: another record under a used seq",
    inserted(8, (7, FORKED[200])),
    TAMPERED,
    "table INSERTED 7",
)
case(
    "rows: another record before the true one",
    inserted(7, (7, record(7, "1" * 64))),
    TAMPERED,
    "table MODIFIED 7",
    "table INSERTED 7",
)
for name, seq in EXTREMES.items():
    case(
        f"rows: one at seq {name}", inserted(0, (seq, LINES[0])), TAMPERED, f"table INSERTED {seq}"
    )
case(
    "rows: seq is NULL, read as -1",
    rows(lambda old: [*old[:17], *old[18:], (-1, LINES[17])]),
    TAMPERED,
    "table DELETED 17",
    "table INSERTED -1",
)
case(
    "rows: one at seq 2^63-1",
    inserted(300, (2**63 - 1, record(2**63 - 1, link(LINES[-1])))),
    TAMPERED,
    f"table DELETED 300+{2**63 - 301}",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "rows: a copy of the last one appended",
    inserted(300, (300, LINES[299])),
    TAMPERED,
    "table SEQ_MISMATCH 300",
    "table CHAIN_BREAK 300",
    "table UNSIGNED_TAIL 300+1",
)

# The tail that nobody signed yet

ALL_TAIL = "table UNSIGNED_TAIL 300+8"

case(
    "tail: one altered",
    grow(line(303, record(303, link(GROWN[302]), data={}))),
    TAMPERED,
    "table CHAIN_BREAK 304",
    ALL_TAIL,
)
case(
    "tail: one deleted",
    grow(without(303)),
    TAMPERED,
    "table DELETED 303",
    "table UNSIGNED_TAIL 300+7",
)
case(
    "tail: its first deleted",
    grow(without(300)),
    TAMPERED,
    "table DELETED 300",
    "table UNSIGNED_TAIL 300+7",
)
case(
    "tail: the last signed and the first unsigned deleted",
    grow(without(299, 300)),
    TAMPERED,
    "table TRUNCATED 299",
    "table DELETED 300",
    "table UNSIGNED_TAIL 300+7",
)
case(
    "tail: one twice",
    grow(inserted(304, (303, GROWN[303]))),
    TAMPERED,
    "table INSERTED 303",
    ALL_TAIL,
)
case(
    "tail: wrong order",
    grow(rows(lambda old: [*old[:303], old[304], old[303], *old[305:]])),
    TAMPERED,
    "table DELETED 303",
    "table INSERTED 303",
    "table UNSIGNED_TAIL 300+7",
)
case(
    "tail: neighbours exchange contents",
    grow(line(303, GROWN[304]), line(304, GROWN[303])),
    TAMPERED,
    "table SEQ_MISMATCH 303+2",
    "table CHAIN_BREAK 303+3",
    ALL_TAIL,
)
case(
    "tail: not chained to what is signed",
    inserted(300, (300, record(300, "0" * 64))),
    TAMPERED,
    "table CHAIN_BREAK 300",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "tail: chained to a rewritten last record",
    both(line(299, FORKED[299]), inserted(300, (300, record(300, link(FORKED[299]))))),
    TAMPERED,
    "table MODIFIED 299",
    "table CHAIN_BREAK 300",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "tail: other spelling",
    inserted(300, (300, json.dumps(json.loads(GROWN[300])).encode())),
    TAMPERED,
    "table NONCANONICAL 300",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "tail: no JSON",
    inserted(300, (300, b"\xff")),
    TAMPERED,
    "table UNPARSEABLE 300",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "tail: NULL, read as the empty record",
    inserted(300, (300, b"")),
    TAMPERED,
    "table UNPARSEABLE 300",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "tail: duplicate key",
    inserted(300, (300, GROWN[300].replace(b'"seq":300', b'"seq":300,"seq":300'))),
    TAMPERED,
    "table UNPARSEABLE 300",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "tail: another log's record",
    inserted(300, (300, chain(301, DEV)[300])),
    TAMPERED,
    "table CHAIN_BREAK 300",
    "table UNSIGNED_TAIL 300+1",
)
case(
    "tail: a tombstone that knows nothing",
    grow(line(303, stone(303, link(GROWN[302]), ""))),
    TAMPERED,
    "table CHAIN_BREAK 304",
    ALL_TAIL,
)
case(
    "tail: a tombstone that names another record",
    grow(line(303, stone(303, link(GROWN[302]), link(GROWN[302])))),
    TAMPERED,
    "table CHAIN_BREAK 304",
    ALL_TAIL,
)
case(
    "tail: a tombstone that names the lost record",
    grow(line(303, stone(303, link(GROWN[302]), link(GROWN[303])))),
    VERIFIED,
    ALL_TAIL,
)

# The store: segments

for name, data, *expected in (
    ("rewritten from 100", segment(FORKED), "store MODIFIED 100+200"),
    ("another environment", segment(DEV), "store MODIFIED 0+300"),
    ("emptied", b"", "store SEGMENT_TORN 0+300", "store TRUNCATED 0+300"),
    ("no zstd", b"nothing of the kind", "store SEGMENT_DIGEST 0+300", "store TRUNCATED 0+300"),
    ("plain text", PLAIN, "store SEGMENT_DIGEST 0+300", "store TRUNCATED 0+300"),
    ("upload cut", segment(LINES)[:-400], "store SEGMENT_TORN", "store TRUNCATED"),
    ("last line cut", frame(PLAIN[:-30]), "store SEGMENT_TORN", "store TRUNCATED 299"),
    ("last newline cut", frame(PLAIN[:-1]), "store SEGMENT_TORN", "store TRUNCATED 299"),
    ("checksum altered", flipped(-1)(segment(LINES)), "store SEGMENT_DIGEST", "store TRUNCATED"),
    (
        "a line left out",
        segment(LINES[:8] + LINES[9:]),
        "store REORDERED 8+291",
        "store SEQ_MISMATCH 8+291",
        "store SEGMENT_TORN",
        "store TRUNCATED 299",
    ),
    ("the last line left out", segment(LINES[:-1]), "store SEGMENT_TORN", "store TRUNCATED 299"),
    ("a line too many", segment([*LINES, LINES[-1]]), "store SEGMENT_TORN"),
    (
        "an empty line inside",
        segment([*LINES[:150], b"", *LINES[150:]]),
        "store MODIFIED 150",
        "store UNPARSEABLE 150",
        "store REORDERED 151+149",
        "store SEQ_MISMATCH 151+149",
        "store SEGMENT_TORN",
    ),
    ("an empty line at the end", segment([*LINES, b""]), "store SEGMENT_TORN"),
    (
        "CRLF",
        segment(each + b"\r" for each in LINES),
        "store MODIFIED 0+300",
        "store NONCANONICAL 0+300",
    ),
    (
        "NUL in a line",
        segment([*LINES[:9], LINES[9] + b"\0", *LINES[10:]]),
        "store MODIFIED 9",
        "store UNPARSEABLE 9",
    ),
    (
        "neighbours exchanged",
        segment([*LINES[:8], LINES[9], LINES[8], *LINES[10:]]),
        "store REORDERED 8+2",
        "store SEQ_MISMATCH 8+2",
    ),
    (
        "a tombstone",
        segment([*LINES[:9], stone(9, link(LINES[8]), link(LINES[9])), *LINES[10:]]),
        "store LOST 9",
    ),
    (
        "a line of 1 MiB + 1",
        segment([*LINES[:150], b"x" * (MIB + 1), *LINES[151:]]),
        "store SEGMENT_TORN",
        "store TRUNCATED 150+150",
    ),
    (
        "a last line of 1 MiB + 1",
        segment([*LINES[:150], b"x" * (MIB + 1)]),
        "store SEGMENT_TORN",
        "store TRUNCATED 150+150",
    ),
    (
        "a line of 1 MiB",
        segment([*LINES[:150], b"x" * MIB, *LINES[151:]]),
        "store MODIFIED 150",
        "store UNPARSEABLE 150",
    ),
    ("a byte after the frame", segment(LINES) + b"\0", "store SEGMENT_TORN"),
    (
        "a byte after a frame of whole kilobytes",
        kilobytes_exactly(PLAIN) + b"\0",
        "store SEGMENT_TORN",
    ),
    (
        "a kilobyte after a frame of whole kilobytes",
        kilobytes_exactly(PLAIN) + bytes(1024),
        "store SEGMENT_TORN",
    ),
    ("the frame twice", segment(LINES) * 2, "store SEGMENT_TORN"),
    (
        "two frames of half the lines",
        segment(LINES[:150]) + segment(LINES[150:]),
        "store SEGMENT_TORN",
        "store TRUNCATED 150+150",
    ),
    (
        "a skippable frame before",
        SKIPPABLE + segment(LINES),
        "store SEGMENT_TORN",
        "store TRUNCATED 0+300",
    ),
    ("a skippable frame behind", segment(LINES) + SKIPPABLE, "store SEGMENT_TORN"),
    (
        "a frame with a dictionary",
        raw_frame(PLAIN, dictionary=True),
        "store SEGMENT_DIGEST",
        "store TRUNCATED 0+300",
    ),
    ("a window of 16 MiB", wide_window(PLAIN), "store SEGMENT_DIGEST", "store TRUNCATED 0+300"),
    (
        "a frame that claims 1 GiB",
        raw_frame(PLAIN, claimed=2**30),
        "store SEGMENT_DIGEST",
        "store TRUNCATED",
    ),
    (
        "a bomb of newlines",
        zstandard.compress(b"\n" * 20_000_000),
        "store MODIFIED 0+300",
        "store UNPARSEABLE 0+300",
        "store SEGMENT_TORN",
    ),
    (
        "a bomb without newlines",
        zstandard.compress(bytes(20_000_000)),
        "store SEGMENT_TORN",
        "store TRUNCATED 0+300",
    ),
):
    case(f"segment: {name}", put(SEGMENT, data), TAMPERED, *expected)

LOST_SEGMENT = "store TRUNCATED 250+50"

case("segment: missing, an older one is there", drop(SEGMENT), TAMPERED, LOST_SEGMENT)
case(
    "segment: all missing",
    drop(SEGMENT, OLDER, "seg/0-100.jsonl.zst"),
    TAMPERED,
    "store TRUNCATED 0+300",
)
case(
    "segment: renamed to another block",
    move(SEGMENT, "seg/65536-300.jsonl.zst"),
    TAMPERED,
    LOST_SEGMENT,
)
case(
    "segment: renamed to more lines",
    move(SEGMENT, "seg/0-400.jsonl.zst"),
    TAMPERED,
    "store SEGMENT_TORN",
)
case(
    "segment: renamed to fewer lines",
    move(SEGMENT, "seg/0-299.jsonl.zst"),
    TAMPERED,
    "store SEGMENT_TORN",
    "store TRUNCATED 299",
)
case(
    "segment: renamed with a leading zero",
    move(SEGMENT, "seg/00-300.jsonl.zst"),
    TAMPERED,
    LOST_SEGMENT,
    "store STRAY",
)
case(
    "segment: renamed by case",
    move(SEGMENT, "seg/0-300.JSONL.zst"),
    TAMPERED,
    LOST_SEGMENT,
    "store STRAY",
)
case(
    "segment: exchanged with the older one",
    both(move(SEGMENT, "x"), move(OLDER, SEGMENT), move("x", OLDER)),
    TAMPERED,
    "store SEGMENT_TORN",
    LOST_SEGMENT,
)
case(
    "segment: rewritten, and so is the table",
    both(_taken(FORKED, heads=()), files(lambda new: new | tiles(LINES)), attribute(api=None)),
    TAMPERED,
    "store MODIFIED 100+200",
    "table MODIFIED 100+200",
)

# The store: tiles

NO_TILES = ("store TILES_BAD",)
DEV_TILES, FORK_TILES = tiles(DEV), tiles(FORKED)

for name, do in (
    ("full one altered", put(FULL, flipped(99))),
    ("partial one altered", put(PARTIAL, flipped(-1))),
    ("full one missing, a partial one stays", drop(FULL)),
    ("partial one missing", drop(PARTIAL)),
    ("full one too short", put(FULL, lambda old: old[:-32])),
    ("full one too long", put(FULL, lambda old: old + bytes(32))),
    ("partial one too long", put(PARTIAL, lambda old: old + plain_leaf(GROWN[300]))),
    ("partial one too short", put(PARTIAL, lambda old: old[:-32])),
    ("partial one filled up to 8 KiB", put(PARTIAL, lambda old: old.ljust(8192, b"\0"))),
    ("odd length", put(PARTIAL, lambda old: old[:-1])),
    ("emptied", put(FULL, b"")),
    ("two hashes exchanged", put(FULL, lambda old: old[32:64] + old[:32] + old[64:])),
    ("full and partial exchanged", both(move(FULL, "x"), move(PARTIAL, FULL), move("x", PARTIAL))),
    ("another log's", put(FULL, DEV_TILES[FULL])),
    (
        "inner nodes in the place of leaves",
        put(
            FULL,
            lambda old: b"".join(
                sha256(b"\1" + old[at : at + 64]).digest() for at in range(0, 8192, 64)
            ).ljust(8192, b"\0"),
        ),
    ),
    (
        "last leaf doubled, as in trees without a size",
        put(PARTIAL, lambda old: old[:-32] + old[-64:-32]),
    ),
):
    case(f"tile: {name}", do, UNVERIFIABLE, *NO_TILES)

UNREADABLE_TREE = ("store TILES_BAD", "table MODIFIED 0+300", "store MODIFIED 0+300")

case(
    "tile: altered with its record, in all places",
    both(_taken(FORKED, heads=()), attribute(api=(SIZE, root_of(LINES)))),
    TAMPERED,
    *UNREADABLE_TREE,
)
case(
    "tile: altered with its record, in all places, the API shows it",
    _taken(FORKED, heads=()),
    TAMPERED,
    *UNREADABLE_TREE,
    "api SPLIT_VIEW",
)
case(
    "tile: all missing, the segments are there",
    files(lambda old: {path: data for path, data in old.items() if path[:5] != "tile/"}),
    UNVERIFIABLE,
    "store TILES_BAD",
)
case(
    "tile: all missing, and the segments too",
    files(lambda old: {path: data for path, data in old.items() if path[:5] == "check"}),
    TAMPERED,
    "store TILES_BAD",
    "store TRUNCATED 0+300",
)
case(
    "tile: altered, and another record in the segment",
    both(put(FULL, flipped(9)), put(SEGMENT, segment(FORKED))),
    TAMPERED,
    "store TILES_BAD",
    "store MODIFIED 0+300",
)
for name, do in (
    ("altered", put(UPPER, flipped(3))),
    ("missing", drop(UPPER)),
    ("too long", put(UPPER, lambda old: old * 2)),
    ("emptied", put(UPPER, b"")),
    ("of another history", put(UPPER, FORK_TILES[UPPER])),
):
    case(f"upper tile: {name}", do, UNVERIFIABLE, "store TILES_BAD")
case(
    "upper tile: altered, and a record too",
    both(put(UPPER, flipped(3)), line(9, b"{}")),
    TAMPERED,
    "store TILES_BAD",
    "table MODIFIED 9",
    "table SEQ_MISMATCH 9",
)

# The store: checkpoints

TEXT = head_text(SIZE, root_of(LINES))
ROOT64 = base64.b64encode(root_of(LINES)).decode()
NOTE = note(LINES).decode()
LOOSE = ROOT64[:-2] + chr(ord(ROOT64[-2]) + 1) + "="


def lines_of(*signatures):
    """The head's text with these signature lines."""
    return (TEXT + "\n" + "".join(signatures)).encode()


def resigned(text):
    return signed(text, LOG, *QUORUM)


def malleated():
    """The log's signature with the group order added to its second half: sloppy code takes it."""
    order = 2**252 + 27742317777372353535851937790883648493
    true = LOG.private.sign(TEXT.encode())
    second = int.from_bytes(true[32:], "little") + order
    return LOG.line(true[:32] + second.to_bytes(32, "little"))


SIGNED = LOG.sign(TEXT)
WITNESSED = W1.sign(TEXT) + W2.sign(TEXT)
OLD_TEXT = head_text(ANCHORED, root_of(LINES[:ANCHORED]))

for code, name, data in (
    ("BAD_SIGNATURE", "signed by an unknown key", signed(TEXT, EVIL, *QUORUM)),
    ("BAD_SIGNATURE", "signed by the retired key", signed(TEXT, OLD, *QUORUM)),
    ("BAD_SIGNATURE", "signed by a key that is not valid yet", signed(TEXT, FUTURE, *QUORUM)),
    ("BAD_SIGNATURE", "signed by witnesses only", signed(TEXT, W1, W2, W3)),
    (
        "BAD_SIGNATURE",
        "log's signature with its second half raised",
        lines_of(malleated(), WITNESSED),
    ),
    (
        "BAD_SIGNATURE",
        "log's signature cut to 63 bytes",
        lines_of(LOG.line(LOG.private.sign(TEXT.encode())[:63]), WITNESSED),
    ),
    ("BAD_SIGNATURE", "log's signature all zeros", lines_of(LOG.line(bytes(64)), WITNESSED)),
    (
        "BAD_SIGNATURE",
        "log's signature over the older head",
        lines_of(LOG.sign(OLD_TEXT), WITNESSED),
    ),
    (
        "BAD_SIGNATURE",
        "retired key's wrong signature beside the true one",
        lines_of(OLD.sign("x\n"), SIGNED, WITNESSED),
    ),
    ("BAD_SIGNATURE", "size altered", swapped(b"\n300\n", b"\n299\n")(NOTE.encode())),
    (
        "BAD_SIGNATURE",
        "size raised by a copy of the last leaf",
        swapped(b"\n300\n", b"\n301\n")(NOTE.encode()),
    ),
    (
        "BAD_SIGNATURE",
        "root altered",
        swapped(ROOT64.encode(), base64.b64encode(root_of(FORKED)))(NOTE.encode()),
    ),
    ("BAD_SIGNATURE", "extension added", swapped(b"\n\n", b"\nextension\n\n")(NOTE.encode())),
    ("BAD_SIGNATURE", "BOM", b"\xef\xbb\xbf" + NOTE.encode()),
    ("BAD_SIGNATURE", "witness forged", lines_of(SIGNED, W1.sign(TEXT), W2.line(bytes(72)))),
    (
        "BAD_SIGNATURE",
        "witness signed with another witness's key",
        lines_of(SIGNED, W1.sign(TEXT), W2.line(base64.b64decode(W1.sign(TEXT).split()[2])[4:])),
    ),
    (
        "BAD_SIGNATURE",
        "witness's signature taken from the older head",
        lines_of(SIGNED, W1.sign(TEXT), W2.sign(OLD_TEXT)),
    ),
    (
        "BAD_SIGNATURE",
        "third witness's signature taken from the older head",
        lines_of(SIGNED, WITNESSED, W3.sign(OLD_TEXT)),
    ),
    (
        "BAD_SIGNATURE",
        "witness's time altered",
        lines_of(
            SIGNED,
            W1.sign(TEXT),
            W2.line(struct.pack(">Q", NOW) + base64.b64decode(W2.sign(TEXT).split()[2])[12:]),
        ),
    ),
    (
        "BAD_SIGNATURE",
        "witness signed without a time",
        lines_of(SIGNED, W1.sign(TEXT), W2.line(W2.private.sign(TEXT.encode()))),
    ),
    (
        "BAD_SIGNATURE",
        "witness signed the bare text behind a time",
        lines_of(
            SIGNED, W1.sign(TEXT), W2.line(struct.pack(">Q", NOW) + W2.private.sign(TEXT.encode()))
        ),
    ),
    (
        "BAD_SIGNATURE",
        "witness's time beyond the year 9999",
        lines_of(SIGNED, WITNESSED, W3.sign(TEXT, 2**63)),
    ),
    ("BAD_CHECKPOINT", "all signatures removed", (TEXT + "\n").encode()),
    ("BAD_CHECKPOINT", "all signatures removed with the empty line", TEXT.encode()),
    (
        "BAD_CHECKPOINT",
        "another log's, signed by this log's key",
        resigned(head_text(SIZE, root_of(LINES), "audit.example/dev")),
    ),
    (
        "BAD_CHECKPOINT",
        "another log's, signed by its own key",
        signed(
            head_text(SIZE, root_of(LINES), "audit.example/dev"),
            Key("audit.example/dev", 9),
            *QUORUM,
        ),
    ),
    ("BAD_CHECKPOINT", "size with a leading zero", resigned(TEXT.replace("\n300\n", "\n0300\n"))),
    ("BAD_CHECKPOINT", "size with a sign", resigned(TEXT.replace("\n300\n", "\n+300\n"))),
    (
        "BAD_CHECKPOINT",
        "size in other digits",
        resigned(TEXT.replace("\n300\n", "\n\u0663\u0660\u0660\n")),
    ),
    ("BAD_CHECKPOINT", "size with a space", resigned(TEXT.replace("\n300\n", "\n300 \n"))),
    ("BAD_CHECKPOINT", "root in loose base64", resigned(TEXT.replace(ROOT64, LOOSE))),
    ("BAD_CHECKPOINT", "root without padding", resigned(TEXT.replace(ROOT64, ROOT64[:-1]))),
    ("BAD_CHECKPOINT", "root of 31 bytes", resigned(head_text(SIZE, root_of(LINES)[:31]))),
    ("BAD_CHECKPOINT", "root in hex", resigned(f"{ORIGIN}\n300\n{root_of(LINES).hex()}\n")),
    ("BAD_CHECKPOINT", "root missing", resigned(f"{ORIGIN}\n300\n")),
    ("BAD_CHECKPOINT", "an empty extension line", resigned(TEXT + "\n")),
    ("BAD_CHECKPOINT", "CRLF", NOTE.replace("\n", "\r\n").encode()),
    ("BAD_CHECKPOINT", "not UTF-8", b"\xff\xfe" + NOTE.encode()),
    ("BAD_CHECKPOINT", "NUL behind", NOTE.encode() + b"\0"),
    ("BAD_CHECKPOINT", "emptied", b""),
    ("BAD_CHECKPOINT", "hyphen in the place of the dash", NOTE.replace("\u2014", "-").encode()),
    (
        "BAD_CHECKPOINT",
        "signature in loose base64",
        lines_of(SIGNED.replace(SIGNED[-3], chr(ord(SIGNED[-3]) + 1)), WITNESSED),
    ),
    ("BAD_CHECKPOINT", "the log signs twice", lines_of(SIGNED, SIGNED, WITNESSED)),
    ("BAD_CHECKPOINT", "a witness signs twice", lines_of(SIGNED, W1.sign(TEXT), W1.sign(TEXT))),
    (
        "BAD_CHECKPOINT",
        "a witness signs at two times",
        lines_of(SIGNED, W1.sign(TEXT), W1.sign(TEXT, NOW - 60)),
    ),
    (
        "BAD_CHECKPOINT",
        "101 signatures",
        lines_of(SIGNED, WITNESSED, *(Key("x", n).sign("x\n") for n in range(30, 128))),
    ),
    (
        "BAD_CHECKPOINT",
        "more than 64 KiB",
        lines_of(SIGNED, WITNESSED, "\u2014 x {}\n".format("A" * 80_000)),
    ),
    ("QUORUM", "no witness", signed(TEXT, LOG)),
    ("QUORUM", "one witness", signed(TEXT, LOG, W1)),
    ("QUORUM", "one witness, one unknown", signed(TEXT, LOG, W1, STRANGER)),
    ("QUORUM", "one witness under two names", signed(TEXT, LOG, W1, Key("w8.example", W1.seed, 4))),
    ("QUORUM", "one witness under another's name", signed(TEXT, LOG, W1, Key(W2.name, W1.seed, 4))),
    ("QUORUM", "the log poses as a witness", signed(TEXT, LOG, W1, Key(W2.name, LOG.seed, 4))),
    (
        "QUORUM",
        "the log signs once more as kind 4",
        signed(TEXT, LOG, W1, Key(ORIGIN, LOG.seed, 4)),
    ),
    ("QUORUM", "a witness signs as a log", signed(TEXT, LOG, W1, Key(W2.name, W2.seed, 1))),
):
    case(f"head: {name}", head(data), UNVERIFIABLE, f"store {code}", *OLDER_HEAD)

for code, name, path, data in (
    ("BAD_SIGNATURE", "newer one forged", "checkpoints/400", note(chain(400, LINES), EVIL)),
    (
        "BAD_SIGNATURE",
        "newer one by the retired key",
        "checkpoints/400",
        note(chain(400, LINES), OLD, *QUORUM),
    ),
    ("QUORUM", "newer one without witnesses", "checkpoints/400", note(chain(400, LINES), LOG)),
    ("BAD_CHECKPOINT", "older one as the newest", "checkpoints/999", note(LINES[:ANCHORED])),
    ("BAD_CHECKPOINT", "newest one as an older one", "checkpoints/200", note(LINES)),
    (
        "BAD_CHECKPOINT",
        "an older one under another size",
        "checkpoints/200",
        note(LINES[:ANCHORED]),
    ),
    ("BAD_SIGNATURE", "older one damaged", "checkpoints/100", flipped(0)),
    (
        "BAD_SIGNATURE",
        "older one by a key that began later",
        "checkpoints/100",
        note(LINES[:100], LOG, *QUORUM),
    ),
    (
        "BAD_SIGNATURE",
        "older one by a key that had retired",
        "checkpoints/200",
        note(LINES[:200], OLD, *QUORUM),
    ),
    (
        "BAD_SIGNATURE",
        "older one with a forged witness",
        "checkpoints/200",
        note(LINES[:200], LOG) + W1.line(bytes(72)).encode(),
    ),
    ("BAD_CHECKPOINT", "older one emptied", "checkpoints/100", b""),
    (
        "BAD_CHECKPOINT",
        "empty log with a root",
        "checkpoints/0",
        signed(head_text(0, bytes(32)), OLD),
    ),
    (
        "BAD_CHECKPOINT",
        "of another log",
        "checkpoints/200",
        note(LINES[:200], LOG, origin="audit.example/dev"),
    ),
):
    case(f"checkpoints: {name}", put(path, data), UNVERIFIABLE, f"store {code}")

NO_HEAD = ("store BAD_CHECKPOINT", "anchor ROLLBACK")

case(
    "checkpoints: renamed to another size",
    move(HEAD, "checkpoints/301"),
    UNVERIFIABLE,
    "store BAD_CHECKPOINT",
    *OLDER_HEAD,
)
case(
    "checkpoints: renamed with a leading zero",
    move(HEAD, "checkpoints/0300"),
    VERIFIED,
    "store STRAY",
    *OLDER_HEAD,
)
case(
    "checkpoints: older one of another history",
    put("checkpoints/200", note(FORKED[:200])),
    TAMPERED,
    "store FORK",
)
case(
    "checkpoints: older one of another history by the log alone",
    put("checkpoints/200", note(FORKED[:200], LOG)),
    TAMPERED,
    "store FORK",
)
case(
    "checkpoints: all removed",
    files(lambda old: {path: data for path, data in old.items() if "checkpoints" not in path}),
    TAMPERED,
    *NO_HEAD,
)
case("checkpoints: everything removed", files(lambda _: {}), TAMPERED, *NO_HEAD)

case(
    "checkpoints: everything removed, no anchor",
    both(files(lambda _: {}), attribute(anchor=b"")),
    UNVERIFIABLE,
    "store BAD_CHECKPOINT",
)

# Time

case(
    "time: cosignatures of two days ago",
    head(note(LINES, at=NOW - 48 * HOUR)),
    UNVERIFIABLE,
    "store STALE",
)
case(
    "time: cosignatures in the future",
    head(note(LINES, at=NOW + 2 * HOUR)),
    UNVERIFIABLE,
    "store STALE",
)
case(
    "time: one of two in the future",
    head(lines_of(SIGNED, W1.sign(TEXT), W2.sign(TEXT, NOW + HOUR))),
    UNVERIFIABLE,
    "store STALE",
)
case(
    "time: one of two is old",
    head(lines_of(SIGNED, W1.sign(TEXT), W2.sign(TEXT, NOW - 48 * HOUR))),
    UNVERIFIABLE,
    "store STALE",
)
case("time: cosignatures of 1970", head(note(LINES, at=0)), UNVERIFIABLE, "store STALE")
case("time: sealing has stopped", attribute(now=NOW + 30 * HOUR), UNVERIFIABLE, "store STALE")
case(
    "time: an old head is served again",
    both(drop(HEAD), attribute(now=NOW + 10 * HOUR)),
    UNVERIFIABLE,
    "store STALE",
    *OLDER_HEAD,
)
case(
    "time: stale, and a record altered",
    both(attribute(now=NOW + 30 * HOUR), line(9, FORKED[9] + b" ")),
    TAMPERED,
    "store STALE",
    "table MODIFIED 9",
    "table NONCANONICAL 9",
)

# The anchor


def _rolled_back(world):
    """Table, store and API as they were at the head before; the anchor is of the newest."""
    world.anchor = world.files[HEAD]
    for path in (HEAD, SEGMENT, FULL, PARTIAL, UPPER):
        del world.files[path]
    world.rows = world.rows[:ANCHORED]
    world.api = (ANCHORED, root_of(LINES[:ANCHORED]))


case("anchor: everything rolled back together", _rolled_back, TAMPERED, "anchor ROLLBACK")
case("anchor: newer than the head", attribute(anchor=note(GROWN, LOG)), TAMPERED, "anchor ROLLBACK")
case("anchor: same size, another history", attribute(anchor=note(FORKED)), TAMPERED, "anchor FORK")
case(
    "anchor: older, another history",
    attribute(anchor=note(FORKED[:200], LOG)),
    TAMPERED,
    "anchor FORK",
)
case(
    "anchor: one record, another history",
    attribute(anchor=note(DEV[:1], OLD)),
    TAMPERED,
    "anchor FORK",
)
case("anchor: log and quorum rewrite what it holds", _taken(FORKED), TAMPERED, "anchor FORK")
case(
    "anchor: log and quorum rewrite, an older head stays",
    _taken(FORKED, heads=(SIZE,)),
    TAMPERED,
    "anchor FORK",
    "store FORK",
)
case(
    "anchor: the log alone rewrites what it holds",
    _taken(FORKED, keys=(LOG,)),
    TAMPERED,
    "anchor ROLLBACK",
    "store QUORUM",
    "store STALE",
    "table UNSIGNED_TAIL 100+200",
    "api AHEAD",
)
case(
    "anchor: the log alone rewrites what is newer",
    _taken(LATE_FORK, heads=(SIZE,), keys=(LOG,)),
    UNVERIFIABLE,
    "store QUORUM",
    *OLDER_HEAD,
)
case(
    "anchor: a stranger rewrites everything",
    _taken(DEV, heads=(0, 100, 250, 300), keys=(EVIL, W1, W2)),
    UNVERIFIABLE,
    "store BAD_SIGNATURE",
)

case(
    "anchor: of a head that is damaged now",
    both(attribute(anchor=note(LINES)), head(flipped(0))),
    TAMPERED,
    "anchor ROLLBACK",
    "store BAD_SIGNATURE",
    *OLDER_HEAD,
)

# The API

for name, size, root in (
    ("another history of the same size", SIZE, root_of(LATE_FORK)),
    ("another history of an older size", 290, root_of(LATE_FORK[:290])),
    ("the root of another size", SIZE, root_of(LINES[:299])),
    ("an older head's root at the newest size", SIZE, root_of(LINES[:ANCHORED])),
    ("an empty log with a root", 0, root_of(LINES)),
    ("one record of another log", 1, root_of(DEV[:1])),
    ("a longer, other history", 308, root_of(chain(308, LATE_FORK))),
    ("a longer history under the signed root", 308, root_of(LINES)),
):
    case(f"api: {name}", grow(attribute(api=(size, root))), TAMPERED, "api SPLIT_VIEW", ALL_TAIL)
case(
    "api: the empty root for all records",
    attribute(api=(SIZE, sha256(b"").digest())),
    TAMPERED,
    "api SPLIT_VIEW",
)
case(
    "api: longer than the table, which may lag",
    attribute(api=(305, root_of(GROWN[:305]))),
    UNVERIFIABLE,
    "api UNPROVEN",
)

case(
    "api: longer than the table, whose tail has a gap",
    grow(without(302), attribute(api=(308, root_of(GROWN)))),
    TAMPERED,
    "api UNPROVEN",
    "table DELETED 302",
    "table UNSIGNED_TAIL 300+7",
)
case("api: longer than any table", attribute(api=(10**18, bytes(32))), UNVERIFIABLE, "api UNPROVEN")
case("api: no size", attribute(api=(-1, bytes(32))), UNVERIFIABLE, "api UNPROVEN")
case("api: half a root", attribute(api=(SIZE, bytes(16))), TAMPERED, "api SPLIT_VIEW")
case(
    "api: another history, and a tile is altered",
    both(put(FULL, flipped(9)), attribute(api=(SIZE, root_of(FORKED)))),
    TAMPERED,
    "store TILES_BAD",
    "api SPLIT_VIEW",
)

# More than 65,536 records

STORE_ONLY = attribute(checks=frozenset({"store"}))
TABLE_ONLY = attribute(checks=frozenset({"table"}))
FIRST, SECOND = "seg/0-65536.jsonl.zst", "seg/65536-264.jsonl.zst"


def _moved_over(world):
    world.files[FIRST] = segment(world.lines[:65_535])
    world.files[SECOND] = segment(world.lines[65_535:])


def _exchanged(world):
    world.rows[65_535:65_537] = [(65_535, world.lines[65_536]), (65_536, world.lines[65_535])]


def large(name, do, status, *expected):
    case(f"large: {name}", do, status, *expected, start=large_world)


large("control", nothing, VERIFIED)
large(
    "rows exchanged over the boundary",
    both(TABLE_ONLY, _exchanged),
    TAMPERED,
    "table REORDERED 65535+2",
    "table SEQ_MISMATCH 65535+2",
)
large(
    "a line moved over the boundary",
    both(STORE_ONLY, _moved_over),
    TAMPERED,
    "store SEGMENT_TORN",
    "store DELETED 65535",
    "store REORDERED 65536+264",
    "store SEQ_MISMATCH 65536+264",
)
large(
    "segments exchanged",
    both(STORE_ONLY, move(FIRST, "x"), move(SECOND, FIRST), move("x", SECOND)),
    TAMPERED,
    "store SEGMENT_TORN",
    "store REORDERED 0+264",
    "store REORDERED 65536+264",
    "store SEQ_MISMATCH 0+264",
    "store SEQ_MISMATCH 65536+264",
    "store DELETED 264+65272",
)
large("top tile missing", both(STORE_ONLY, drop("tile/2/000.p/1")), UNVERIFIABLE, "store TILES_BAD")
BOTH = attribute(checks=frozenset({"table", "store"}))
NO_TILES_AT_ALL = files(
    lambda old: {path: data for path, data in old.items() if path[:5] != "tile/"}
)


def large_row(seq):
    """Row `seq` altered, so that its own form is still right."""
    return line(seq, swapped(b'"data":{}', b'"data":{"a":1}'))


def _rewritten_over(world):
    lines = world.lines[:65_000]
    prev = link(lines[-1])
    for seq in range(65_000, 65_800):
        new = b'{"_prev":"%b","data":[],"seq":%d}' % (prev.encode(), seq)
        lines.append(new)
        prev = link(new)
    world.rows = list(enumerate(lines))


def _renumbered_over(world):
    new = b'{"_prev":"%b","data":[],"seq":65500}' % link(world.lines[65_499]).encode()
    shifted = [(seq + 1, each) for seq, each in world.rows[65_500:]]
    world.rows = [*world.rows[:65_500], (65_500, new), *shifted]


large(
    "first and last of the blocks altered",
    both(TABLE_ONLY, large_row(65_535), large_row(65_536)),
    TAMPERED,
    "table MODIFIED 65535+2",
)
large(
    "rewritten over the boundary, chained anew",
    both(TABLE_ONLY, _rewritten_over),
    TAMPERED,
    "table MODIFIED 65000+800",
)
large(
    "one inserted, the rest renumbered",
    both(TABLE_ONLY, _renumbered_over),
    TAMPERED,
    "table MODIFIED 65500",
    "table REORDERED 65501+299",
    "table SEQ_MISMATCH 65501+300",
    "table CHAIN_BREAK 65800",
    "table UNSIGNED_TAIL 65800+1",
)
large(
    "tile and a row of its block altered",
    both(TABLE_ONLY, put("tile/0/003", flipped(1)), large_row(9)),
    TAMPERED,
    "table MODIFIED 9",
)
large(
    "top tile and a row altered",
    both(TABLE_ONLY, put("tile/2/000.p/1", flipped(1)), large_row(9)),
    TAMPERED,
    "table MODIFIED 9",
)
large(
    "all tiles gone, a row altered",
    both(BOTH, NO_TILES_AT_ALL, large_row(9)),
    TAMPERED,
    "store TILES_BAD",
    "table MODIFIED 9",
)
large(
    "all tiles and a segment gone, a row altered",
    both(BOTH, NO_TILES_AT_ALL, drop(FIRST), large_row(65_540)),
    TAMPERED,
    "store TILES_BAD",
    "store DELETED 0+65536",
    "store UNPROVEN 65536+264",
    "table MODIFIED 0+65800",
)
