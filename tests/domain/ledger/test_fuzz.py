"""What arrives from outside, bent at will: errors of ours only, linear time, little memory."""

import base64
import contextlib
import gc
import random
import struct
import subprocess
import sys
import time
import tracemalloc

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.domain.errors import RunbookError
from tasks.domain.ledger import (
    NoteSigner,
    NoteVerifier,
    RecordError,
    Status,
    Trust,
    canonical_line,
    is_tombstone,
    leaf_hash,
    lost_leaf,
    note_text,
    open_note,
    parse_checkpoint,
    parse_line,
    signatures,
)
from tasks.domain.ledger.records import links_after, stored_prev
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, SegmentError, unpack
from tasks.domain.ledger.tiles import Tile, TileError
from tests.domain.ledger.tamper_worlds import (
    LINES,
    LOG,
    MIB,
    OLD,
    PLAIN,
    POLICY,
    QUORUM,
    SIZE,
    W1,
    frame,
    head_text,
    link,
    note,
    raw_frame,
    root_of,
    segment,
    stone,
)

TRUST = Trust.parse(POLICY)
VERIFIERS = [NoteVerifier.parse(key.public) for key in (LOG, OLD, *QUORUM)]
NOTE = note(LINES).decode()
ANCHORED = POLICY + f'\n[anchor]\nnote = """{NOTE}"""\n'
SECRET = "PRIVATE+KEY+" + LOG.public.rpartition("+")[0] + "+" + base64.b64encode(bytes(33)).decode()
LONG = settings(max_examples=80, derandomize=True, deadline=None, database=None)
SHORT = settings(LONG, max_examples=40)


# Artefacts that are nearly right


JSON_PIECES = (
    *'{}[],:"\\',
    *("NaN", "-Infinity", "1e999", "-0", "0.1", "9" * 5000, "1E400", "null", "true", "\x00"),
    *("\\u0000", "\\ud800", "\\u0073", "\\x", "\ufeff", "\u2028", "[" * 65, '{"a":' * 65),
    *('"seq":9', '"_prev":"', '"event_type":"record_lost"', '"lost_leaf":', "\r\n", " ", "\u0660"),
)
NOTE_PIECES = (
    *("\n", "\n\n", "\u2014 ", "\u2014", "+", "=", " ", "\t", "\r", "\x00", "\x7f", "\u00a0", "0"),
    *("-", "\udcff", "\u0663", "A" * 99, "AAAA", "====", "\u200b", "9" * 30, LOG.sign("x\n")),
    *(W1.sign("x\n"), W1.sign("x\n", 2**63), W1.line(b""), LOG.line(b"1"), W1.line(bytes(71))),
)
TOML_PIECES = (
    *("[[log_keys]]\n", "[log_keys]\n", "[anchor]\n", "[anchor.a]\n", "[[", "]]", "=", '"', "'''"),
    *('"""', "{", "}", "[" * 2000, "a." * 200, "0x" + "f" * 6000, "9" * 5000, "0b1", "1e999"),
    *("nan", "inf", "true", "1979-13-01", "1979-05-27T07:32:00Z", "\\uD800", "\x00", "\ud800"),
    *("quorum = ", "from_size = ", "until_size = ", "max_age_hours = ", "key = ", "\n", "#", "-1"),
    *("1_0", "25:00:00", "[1, 2]", '{key = "x"}', f'key = "{LOG.public}"\n', "10000000000000000"),
)
PATH_PIECES = (
    *("/", "x", "x000/", "x123/" * 1500, "000", "999", ".p/", ".p/256", "-", "0", "00", "\n", ".."),
    *(
        "9" * 30,
        "9" * 5000,
        "\u0660",
        "\x00",
        "seg/",
        "tile/",
        ".jsonl.zst",
        "63/",
        "64/",
        "\udcff",
    ),
)


def bent(start, pieces):
    """Texts that differ from `start` by a few cuts, repeats and pieces put in."""

    def build(steps):
        text = start
        for place, kind, piece, length in steps:
            at = int(place * (len(text) + 1))
            match kind:
                case "put":
                    text = text[:at] + piece + text[at:]
                case "over":
                    text = text[:at] + piece + text[at + length :]
                case "cut":
                    text = text[:at] + text[at + length :]
                case _:
                    text = text[:at] + text[at : at + length] * 2 + text[at + length :]
        return text

    step = st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["put", "put", "over", "cut", "double"]),
        st.sampled_from(pieces) | st.text(max_size=5),
        st.integers(0, 40),
    )
    return st.lists(step, min_size=1, max_size=5).map(build)


def bytes_of(text):
    return text.encode("utf-8", "surrogatepass")


# Errors of ours, and no others


TOMBSTONE = stone(9, link(LINES[8]), link(LINES[9])).decode()


@LONG
@given(bent(LINES[9].decode(), JSON_PIECES) | bent(TOMBSTONE, JSON_PIECES))
@example("")
@example("\x00")
def test_any_line_is_a_record_or_a_record_error(text):
    line = bytes_of(text)
    leaf = lost_leaf(line)
    assert leaf is None or (is_tombstone(line) and len(leaf) == 32)
    assert all(len(each) == 64 for each in links_after(line, leaf_hash(line)))
    prev = stored_prev(line)
    try:
        event = parse_line(line)
    except RecordError:
        assert not is_tombstone(line)
        return
    again = canonical_line(event)
    assert canonical_line(parse_line(again)) == again
    if prev is not None and again == line:
        assert str(event["_prev"]).encode() == prev


@SHORT
@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_a_record_error(line):
    lost_leaf(line)
    try:
        parse_line(line)
    except RecordError:
        assert not is_tombstone(line)


@LONG
@given(bent(NOTE, NOTE_PIECES))
def test_any_note_is_opened_or_refused_with_an_error_of_ours(text):
    for attempt in (
        note_text,
        lambda each: signatures(each, VERIFIERS),
        lambda each: open_note(each, VERIFIERS),
        TRUST.open,
        TRUST.open_signed,
        parse_checkpoint,
    ):
        try:
            attempt(text)
        except RunbookError:
            continue
    try:
        opened = TRUST.open(text).checkpoint
    except RunbookError:
        return
    assert opened.text == head_text(SIZE, root_of(LINES))


@LONG
@given(bent(head_text(SIZE, root_of(LINES)), NOTE_PIECES))
def test_any_text_is_a_checkpoint_or_refused(text):
    try:
        checkpoint = parse_checkpoint(text)
    except RunbookError:
        return
    assert text.startswith(checkpoint.text)


@SHORT
@given(bent(LOG.public, NOTE_PIECES) | bent(SECRET, NOTE_PIECES) | bent(W1.public, NOTE_PIECES))
def test_any_key_is_read_or_refused(text):
    for parse in (NoteVerifier.parse, NoteSigner.parse):
        try:
            key = parse(text)
        except RunbookError:
            continue
        assert parse(key.encoded).encoded == key.encoded == text.strip()


@SHORT
@given(bent(POLICY, TOML_PIECES) | bent(ANCHORED, TOML_PIECES))
@example("quorum = " + "9" * 5000)
@example(POLICY.replace("quorum = 2", "quorum = 0x" + "f" * 5000))
@example(POLICY.replace("from_size = 101", "from_size = 0x" + "f" * 5000))
@example(POLICY.replace("until_size = 120", "until_size = 0x" + "f" * 5000))
@example(POLICY.replace("= 25", "= 0x" + "f" * 5000))
@example(ANCHORED.replace("from_size = 101", "from_size = 0x" + "f" * 5000))
@example("a = " + "[" * 60_000)
@example("a = " + "{a=" * 40_000)
def test_any_policy_is_read_or_refused(text):
    try:
        trust = Trust.parse(text)
        trust.open(NOTE)
    except RunbookError:
        return
    assert 0 <= trust.quorum <= len(trust.witnesses)


@LONG
@given(bent("tile/1/x001/x234/067.p/8", PATH_PIECES) | bent("tile/0/000", PATH_PIECES))
@example("tile/0/" + "x123/" * 1500 + "123")
def test_any_path_is_the_one_of_its_tile_or_refused(path):
    try:
        tile = Tile.parse(path)
    except TileError:
        return
    assert tile.path == path


@LONG
@given(bent("seg/65536-300.jsonl.zst", PATH_PIECES))
@example("seg/0-" + "9" * 5000 + ".jsonl.zst")
@example("seg/" + "9" * 5000 + "-1.jsonl.zst")
def test_any_path_is_the_one_of_its_segment_or_none(path):
    parsed = Segment.parse(path)
    assert parsed is None or parsed.path == path


STORED = {
    "compressed": segment(LINES),
    "raw": raw_frame(PLAIN[:2000], blocks=7),
    "claims": raw_frame(PLAIN[:2000], claimed=2000),
    "two": frame(PLAIN[:2000]) + frame(PLAIN[2000:4000]),
}


@pytest.mark.parametrize("stored", sorted(STORED))
@LONG
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 40) | st.integers(0, 20_000), st.binary(max_size=4)), max_size=4
    ),
    count=st.integers(1, SEGMENT_LINES),
)
def test_any_segment_gives_lines_or_a_segment_error(stored, steps, count):
    data = bytearray(STORED[stored])
    for at, piece in steps:
        data[at % len(data) : at % len(data) + len(piece)] = piece
    given_out = 0
    try:
        for lines in unpack(bytes(data), count):
            given_out += len(lines)
            assert all(b"\n" not in line and len(line) <= MIB for line in lines)
    except SegmentError:
        assert given_out <= count
    else:
        assert given_out == count


def test_what_is_written_can_be_read_back_whatever_holds_the_nesting():
    for wrap in (lambda each: [each], lambda each: (each,), lambda each: {"a": each}):
        value = 1
        for _ in range(70):
            value = wrap(value)
        with pytest.raises(RecordError):
            canonical_line({"a": value})


# Time: four times the input takes about four times as long, never sixteen


SLACK = 10
FLOOR = 0.02
"""Seconds below which a measurement says nothing."""


def seconds(work, argument):
    """The fastest of two, without the collector, which looks at all that other tests have left."""
    fastest = 1e9
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            began = time.process_time()
            with contextlib.suppress(RunbookError):
                work(argument)
            fastest = min(fastest, time.process_time() - began)
    finally:
        gc.enable()
    return fastest


def drained(data):
    for _ in unpack(data, SEGMENT_LINES):
        pass


WORK = {
    "digits": (parse_line, lambda n: b'{"a":0.' + b"1" * n + b"}", 200_000),
    "integer": (parse_line, lambda n: b'{"a":' + b"1" * n + b"}", 200_000),
    "exponent": (parse_line, lambda n: b'{"a":1e' + b"1" * n + b"}", 200_000),
    "escapes": (parse_line, lambda n: b'{"a":"' + b"\\u00e9" * n + b'"}', 40_000),
    "quotes": (parse_line, lambda n: b'{"a":"' + b'\\"' * n + b'"}', 120_000),
    "brackets": (parse_line, lambda n: b'{"a":' + b"[" * n, 200_000),
    "objects": (parse_line, lambda n: b'{"a":' * n, 50_000),
    "siblings": (parse_line, lambda n: b'{"a":[' + b"[]," * n + b"[]]}", 15_000),
    "keys": (
        parse_line,
        lambda n: b"{" + b",".join(b'"%d":0' % k for k in range(n)) + b"}",
        20_000,
    ),
    "spaces": (parse_line, lambda n: b'{"a":' + b" " * n + b"}", 200_000),
    "text": (parse_line, lambda n: b'{"a":"' + b"x" * n, 200_000),
    "lost": (lost_leaf, lambda n: b'{"event_type":"record_lost","data":"' + b"x" * n, 200_000),
    "note of lines": (TRUST.open, lambda n: "\n" * n, 15_000),
    "note of dashes": (TRUST.open, lambda n: NOTE + "\u2014 " * n, 8000),
    "note of text": (TRUST.open, lambda n: "x" * n + "\n\n" + NOTE, 15_000),
    "note of one line": (TRUST.open, lambda n: NOTE + "\u2014 x " + "A" * n + "\n", 15_000),
    "note of names": (TRUST.open, lambda n: NOTE + "\u2014 " + "x" * n + " AAAAAAAA\n", 15_000),
    "checkpoint": (parse_checkpoint, lambda n: head_text(1, bytes(32)) + "x\n" * n, 100_000),
    "size": (parse_checkpoint, lambda n: f"a\n{'9' * n}\nb\n", 200_000),
    "key": (NoteVerifier.parse, lambda n: "x+00000000+" + "A" * n, 200_000),
    "key of plus": (NoteVerifier.parse, lambda n: "+" * n, 200_000),
    "dotted key": (Trust.parse, lambda n: ".".join("a" * n) + " = 1", 1000),
    "dotted table": (Trust.parse, lambda n: "[" + ".".join("a" * n) + "]", 1000),
    "dotted inline": (Trust.parse, lambda n: "b = {" + ".".join("a" * n) + " = 1}", 1000),
    "tables": (Trust.parse, lambda n: "[[log_keys]]\n" * n, 2000),
    "keys of a policy": (Trust.parse, lambda n: "".join(f"a{k} = 1\n" for k in range(n)), 1000),
    "array": (Trust.parse, lambda n: "a = [" + "1," * n + "]", 4_000),
    "nested array": (Trust.parse, lambda n: "a = " + "[" * n, 20_000),
    "toml text": (Trust.parse, lambda n: 'a = "' + "\\n" * n, 15_000),
    "toml lines": (Trust.parse, lambda n: 'a = """' + '""\n' * n, 9000),
    "toml digits": (Trust.parse, lambda n: "a = 0x" + "f" * n, 25_000),
    "toml comment": (Trust.parse, lambda n: "#" * n, 25_000),
    "tile": (Tile.parse, lambda n: "tile/0/" + "x123/" * n + "123", 2000),
    "tile of digits": (Tile.parse, lambda n: "tile/0/" + "1" * n, 100_000),
    "segment name": (Segment.parse, lambda n: "seg/" + "1" * n, 100_000),
    "lines": (drained, lambda n: zstandard.compress(b"x\n" * n), 500_000),
    "long lines": (drained, lambda n: zstandard.compress((b"x" * 999_999 + b"\n") * n), 8),
    "noise": (drained, lambda n: zstandard.compress(random.Random(1).randbytes(n)), 200_000),
    "tiny blocks": (drained, lambda n: raw_frame(b"x\n" * n, blocks=n), 8000),
}


@pytest.mark.parametrize("name", WORK)
def test_four_times_the_input_never_takes_sixteen_times_as_long(name):
    work, build, size = WORK[name]
    small, large = seconds(work, build(size)), seconds(work, build(4 * size))
    assert large < max(small, FLOOR) * SLACK
    assert large < 2


# Memory: what is claimed or unfolded is never held


def peak(work, *arguments):
    """Most bytes that were held at once beyond what was held before."""
    tracemalloc.start()
    try:
        with contextlib.suppress(RunbookError):
            work(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bomb(size, mark=b"\0"):
    """A frame of repeated marks: 4 bytes for every 128 KiB."""
    blocks = [struct.pack("<I", 131_072 << 3 | 2)[:3] + mark] * (size // 131_072)
    last = struct.pack("<I", 131_072 << 3 | 3)[:3] + mark
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(blocks) + last


LIMIT = 160 * MIB
BOMBS = {
    "1 GiB of zeros": bomb(2**30),
    "1 GiB of newlines": bomb(2**30, b"\n"),
    "1 GiB claimed": raw_frame(PLAIN, claimed=2**30),
    "4 GiB claimed": raw_frame(PLAIN, claimed=2**32 - 1),
    "many frames": frame(PLAIN[:9]) * 20_000,
    "empty blocks": raw_frame(b"x", blocks=20_000),
    "skippable of 4 GiB": struct.pack("<II", 0x184D2A50, 2**32 - 1) + bytes(100_000),
    "window of 2 GiB": b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(100),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_defused_in_bounded_memory(name):
    assert peak(drained, BOMBS[name]) < LIMIT
    assert seconds(drained, BOMBS[name]) < 2


HEAVY = {
    "note of 10 MB": (TRUST.open, NOTE + "x" * 10_000_000, MIB),
    "note of 10 M lines": (TRUST.open, "\n" * 10_000_000, MIB),
    "policy of 10 MB": (Trust.parse, POLICY + "#" * 10_000_000, MIB),
    "line of 10 MB": (parse_line, b'{"a":"' + b"x" * 10_000_000, MIB),
    "line of lists": (parse_line, b'{"a":[' + b"[]," * 20_000 + b"[]]}", 6 * MIB),
    "line of objects": (parse_line, b'{"a":[' + b"{}," * 20_000 + b"{}]}", 6 * MIB),
    "line of keys": (
        parse_line,
        b"{" + b",".join(b'"%x":0' % key for key in range(20_000)) + b"}",
        16 * MIB,
    ),
    "line of numbers": (parse_line, b'{"a":[' + b"300," * 60_000 + b"1]}", 16 * MIB),
    "tile path of 10 MB": (Tile.parse, "tile/0/" + "x123/" * 2_000_000, 2 * MIB),
    "segment path of 10 MB": (Segment.parse, "seg/" + "1" * 10_000_000, 2 * MIB),
    "key of 10 MB": (NoteVerifier.parse, "x" * 10_000_000, 40 * MIB),
}


@pytest.mark.parametrize("name", HEAVY)
def test_what_is_too_large_is_refused_before_it_is_unfolded(name):
    parse, text, limit = HEAVY[name]
    assert peak(parse, text) < limit


ENDLESS = """
import resource
from tasks.domain.ledger import Trust
from tasks.work.verification import verify_log
from tests.domain.ledger.tamper_worlds import *
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (4, 4))
world = small_world()
text = head_text({size}, bytes(32))
files = world.files | {{"checkpoints/{size}": signed(text, LOG, *QUORUM)}}
print(verify_log(Store(files), Trust.parse(POLICY), now=world.time).status)
"""


@pytest.mark.parametrize("size", [10**8, 10**18])
def test_a_head_that_claims_endless_records_cannot_stop_the_verifier(size):
    """Whoever has the keys can sign any size: also one that no store has tiles or segments for."""
    command = [sys.executable, "-c", ENDLESS.format(size=size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() in {Status.TAMPERED, Status.UNVERIFIABLE}, done.stderr[-500:]
