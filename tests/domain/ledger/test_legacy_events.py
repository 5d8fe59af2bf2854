"""Stored legacy events: slices say exactly what a strict parser says, or nothing."""

import copy
import json
import math
import re
import time
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.domain.ledger import RecordError
from tasks.domain.ledger.kernel_hashlib import Hashlib
from tasks.domain.ledger.legacy_events import parse_event, written_form
from tasks.domain.ledger.legacy_shapes import MAX_SHAPES, EventReader
from tests.domain.ledger.legacy_log import HASHED, busy, hash_of, one_chain, variants, written


class Both:
    """A reader by our C, where it is, and one by regular expressions: they must say the same."""

    def __init__(self):
        self._readers = EventReader(), EventReader(Hashlib())

    def parse(self, text):
        return self._said(lambda reader: reader.parse(text))

    def read(self, text):
        return self._said(lambda reader: reader.read(text))

    def read_slices(self, text):
        ours, theirs = (reader.read_slices(text) for reader in self._readers)
        assert ours == theirs
        return ours

    def _said(self, ask):
        said = []
        for reader in self._readers:
            try:
                said.append(ask(reader))
            except RecordError as error:
                said.append(str(error))
        assert said[0] == said[1]
        if isinstance(said[0], str):
            raise RecordError(said[0])
        return said[0]


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DATA = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)
LINK = "ab" * 32


def event_of(data, **members):
    event = {
        "data": data,
        "event_id": "9f1c",
        "event_type": "annotation",
        "merkle_proof": None,
        "session_id": "session-1",
        "signature": "0a1b" * 128,
        "timestamp": 1_700_000_000.25,
    } | members
    return event | {"hash": hash_of(event)}


def reader_of(*events):
    """A reader that has seen these events."""
    reader = Both()
    for event in events:
        reader.parse(written(event))
    return reader


def slow(text):
    """What the strict parser says, without how it was read; None when it refuses the text."""
    try:
        return parse_event(text)[0]._replace(is_sliced=True)
    except RecordError:
        return None


def naive_hash(text):
    """What anybody would compute: parse, serialise, hash."""
    members = json.loads(text)
    return sha256(written({key: members[key] for key in HASHED})).digest()


def with_own_hash(text):
    """The text with the hash that its slices give: the work of somebody who knows the reader."""
    match = re.search(
        rb'(.*),"hash":"[0-9a-f]{64}","merkle_proof":null(.*),"signature":.*?(,"timestamp":.*)',
        text,
        re.DOTALL,
    )
    if match is None:
        return text
    digest = sha256(match[1] + match[2] + match[3]).hexdigest().encode()
    return text[: match.end(1) + 9] + digest + text[match.end(1) + 73 :]


@given(DATA, st.booleans())
@example({"_previous_hash": LINK, "a": [1, 2.5, 1e-300], "b": {"_previous_hash": "x"}}, False)
def test_slices_and_parser_agree_on_whatever_the_writer_writes(data, is_linked):
    data = {key: value for key, value in data.items() if key != "_previous_hash"}
    event = event_of(data | ({"_previous_hash": LINK} if is_linked else {}))
    text = written(event)
    found = reader_of(event).read_slices(text)
    assert slow(text).computed == naive_hash(text) == bytes.fromhex(event["hash"])
    assert found is None or found == slow(text)
    assert Both().read(text) == slow(text)
    assert slow(text).previous == (bytes.fromhex(LINK) if is_linked else None)


SNIPPETS = st.sampled_from(
    [
        b'},"event_id":"x', b'"},"event_id":"x"', b'","_previous_hash":"' + b"cd" * 32, b'"',
        b'\\"', b"\\\\", b"\\", b"\\u0041", b"\\u00e9", b"\\u001f", b"\\u0009", b"\\/", b"\\n",
        b"\t", b" ", b"\n", b"\0", b"\x7f", "é".encode(), b"\xff", b"1e5", b"1.00", b"01", b"-0",
        b"1E5", b"1e+05", b"1e-5", b"0.10", b"5.", b".5", b"NaN", b"-Infinity", b"1e999", b"9" * 30,
        b"null", b"true", b"{}", b"[]", b'{"a":1,"a":2}', b'"a":1,"a":2', b",", b":", b"{", b"}",
        b"[", b"]", b',"event_type":"annotation"', b',"signature":null', b',"timestamp":1.5}',
        b',"hash":"' + b"0" * 64 + b'","merkle_proof":null', b',"session_id":"session-2"', b"_",
    ]
)  # fmt: skip
SAMPLE = event_of(
    {
        "_previous_hash": LINK,
        "list": ["a", "b"],
        "nested": {"_previous_hash": "no link", "deep": {"x": 1}},
        "number": 0.5,
        "numbers": [1, 2.5],
        "text": 'said "yes" \\ \n \u00e9',
        "word": None,
    }
)
SAMPLE_TEXT = written(SAMPLE)
SAMPLE_READER = reader_of(SAMPLE)


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(st.integers(0, len(SAMPLE_TEXT)), st.integers(0, 12), SNIPPETS),
        min_size=1,
        max_size=3,
    )
)
def test_no_edited_text_is_read_otherwise_than_a_parser_reads_it(edits):
    text = SAMPLE_TEXT
    for at, length, snippet in edits:
        text = text[:at] + snippet + text[at + length :]
    for attempt in (text, with_own_hash(text)):
        found = SAMPLE_READER.read_slices(attempt)
        assert found is None or found == slow(attempt)


def _replaced(old, new):
    assert SAMPLE_TEXT.count(old) == 1, old
    return with_own_hash(SAMPLE_TEXT.replace(old, new))


@pytest.mark.parametrize(
    "text",
    [
        _replaced(b'"number":0.5', b'"number":0.5,"number":0.5'),
        _replaced(b'"number":0.5,', b"").replace(b'"word":null', b'"word":null,"number":0.5'),
        _replaced(b'{"data":{"_previous_hash":"' + LINK.encode() + b'",', b'{"data":{'),
        _replaced(b'"no link"', b'"no link","_previous_hash":"' + LINK.encode() + b'"'),
        _replaced(b'"number":', b'"n\\u0075mber":'),
        _replaced(b'"number":0.5', b'"number": 0.5'),
        _replaced(b'"number":0.5', b'"number":00.5'),
        _replaced(b'"number":0.5', b'"number":.5'),
        _replaced(b'"number":0.5', b'"number":NaN'),
        _replaced(b'"number":0.5', b'"number":1e999'),
        _replaced(b'"number":0.5', b'"number":' + b"9" * 5000),
        _replaced(b'["a","b"]', b'["a","b",]'),
        _replaced(b'["a","b"]', b'["a""b"]'),
        _replaced(b"[1,2.5]", b"[1,,2.5]"),
        _replaced(b"yes", b"y\tes"),
        _replaced(b"yes", b"y\x7fes"),
        _replaced(b"yes", b"y\xc3\xa9s"),
        _replaced(b"yes", b"\\u0079es"),
        _replaced(b"yes", b"\\u00E9s"),
        _replaced(b"yes", b"\\/"),
        _replaced(b'yes\\"', b'yes"'),
        _replaced(b'"9f1c"', b'"9f\\n1c"'),
        _replaced(b'"session-1"', b'"session\\"-1"'),
        SAMPLE_TEXT.replace(b'"signature":"0a', b'"signature":"0g'),
        SAMPLE_TEXT.replace(b'"signature":"' + b"0a1b" * 128 + b'"', b'"signature":"'),
        SAMPLE_TEXT.replace(b'"signature":"' + b"0a1b" * 128 + b'"', b'"signature":0'),
        SAMPLE_TEXT + b" ",
        b" " + SAMPLE_TEXT,
        SAMPLE_TEXT[:-1],
        b"",
        b"}",
        b',"signature":,"timestamp":',
        b',"timestamp":1.5}',
    ],
)
def test_a_text_in_another_form_is_left_to_the_parser(text):
    assert SAMPLE_READER.read_slices(text) is None


def test_the_sample_itself_is_read_by_slices():
    found = SAMPLE_READER.read_slices(SAMPLE_TEXT)
    assert found == slow(SAMPLE_TEXT)
    assert (found.previous, found.session_id) == (bytes.fromhex(LINK), "session-1")
    assert found.signature == bytes.fromhex("0a1b" * 128)


@pytest.mark.parametrize("spelling", [b"0.50", b"5e-1", b"0.5000000000000000000001"])
def test_a_number_in_another_spelling_is_hashed_as_it_is_stored(spelling):
    text = _replaced(b'"number":0.5', b'"number":' + spelling)
    found = SAMPLE_READER.read_slices(text)
    assert found is None or found == slow(text)
    assert slow(text).computed == slow(text).stored != naive_hash(text)


def test_strings_that_look_like_the_mark_of_a_number_stay_strings():
    event = event_of({"number": "number1", "number_1": ["number__"], "x": 0.5})
    text = with_own_hash(written(event).replace(b"0.5", b"0.50"))
    assert slow(text).computed == slow(text).stored
    quoted = written(event_of({"a": "number1"})).replace(b'"number1"', b"1")
    assert slow(quoted).computed != slow(quoted).stored


@pytest.mark.parametrize("number", range(15))
def test_events_saved_again_by_other_tools_keep_their_hash(number):
    event = busy().events[number]
    for text in variants(event):
        found = Both().read(text)
        assert found.computed == found.stored == bytes.fromhex(event["hash"])
        assert found.is_sliced is False


def test_all_events_of_one_shape_but_the_first_are_read_by_slices():
    log, reader = one_chain(40), Both()
    texts = [written(event) for event in log.events]
    assert sum(reader.read_slices(text) is None and bool(reader.read(text)) for text in texts) == 2


def test_a_merkle_proof_and_a_missing_signature_are_outside_the_hash():
    event = copy.deepcopy(SAMPLE) | {"merkle_proof": {"root": "a"}, "signature": None}
    found = SAMPLE_READER.read(written(event))
    assert found.computed == found.stored
    assert found.signature is None
    unsigned = SAMPLE_READER.read_slices(written(SAMPLE | {"signature": None}))
    assert unsigned is not None
    assert unsigned.signature is None


def test_every_changed_byte_of_the_hashed_part_is_seen():
    for at, old in enumerate(SAMPLE_TEXT):
        text = SAMPLE_TEXT[:at] + bytes([old ^ 1]) + SAMPLE_TEXT[at + 1 :]
        try:
            found = SAMPLE_READER.read(text)
        except RecordError:
            continue
        outside = found.signature != bytes.fromhex("0a1b" * 128)
        assert found.computed != found.stored or outside, text[at - 20 : at + 20]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"hash": "ab"}, "64 hex digits"),
        ({"hash": 7}, "64 hex digits"),
        ({"event_id": 7}, "short strings"),
        ({"event_id": ""}, "short strings"),
        ({"session_id": "s" * 600}, "short strings"),
        ({"event_type": None}, "short strings"),
        ({"data": []}, "data as an object"),
        ({"data": {"_previous_hash": None}}, "64 hex digits"),
        ({"data": {"_previous_hash": "xy" * 32}}, "64 hex digits"),
        ({"timestamp": "now"}, "seconds"),
        ({"timestamp": True}, "seconds"),
        ({"timestamp": 10**400}, "seconds"),
        ({"comment": 1}, "comment"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(members, reason):
    with pytest.raises(RecordError, match=reason):
        Both().read(written(SAMPLE | members))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        SAMPLE_TEXT[:-20],
        SAMPLE_TEXT.replace(b"0.5", b"NaN"),
        SAMPLE_TEXT.replace(b'"number":0.5', b'"number":1,"number":2'),
        SAMPLE_TEXT.replace(b"null", b"[" * 100 + b"]" * 100, 1),
        SAMPLE_TEXT.replace(b"null", b"[" * 100_000, 1),
        SAMPLE_TEXT.replace(b"yes", b"y" * 1024 * 1024),
    ],
)
def test_what_parsers_could_disagree_about_is_refused(text):
    with pytest.raises(RecordError):
        Both().read(text)


@pytest.mark.parametrize(
    "filler",
    [
        b'"' * 500_000,
        b"\\" * 500_000,
        b'\\"' * 250_000,
        b"[" * 500_000,
        b'"a":1,' * 80_000,
        b"9" * 500_000,
        b'","a' * 125_000,
        b',"signature":,"timestamp":' * 20_000,
        b',"event_type":"annotation"' * 20_000,
    ],
)
def test_hostile_texts_are_declined_in_linear_time(filler):
    began = time.process_time()
    for spot in (b"yes", b'"a","b"', b"0.5", b"null", b"session-1"):
        SAMPLE_READER.read_slices(SAMPLE_TEXT.replace(spot, filler, 1))
    assert time.process_time() - began < 1


def test_learning_is_bounded():
    reader = Both()
    for number in range(MAX_SHAPES + 50):
        reader.parse(written(event_of({f"key{number}": 1})))
    last = written(event_of({f"key{MAX_SHAPES + 49}": 1}))
    assert reader.read_slices(last) is None
    assert reader.read(last).computed == reader.read(last).stored
    assert reader.read_slices(written(event_of({"key0": 5}))) is not None


def test_the_written_form_is_the_writers():
    for event in busy().events:
        assert written_form(json.loads(written(event))) == written(event)
        assert math.isfinite(event["timestamp"])


@given(data=DATA)
def test_our_c_takes_no_event_that_the_regular_expression_declines(data):
    """And where both take it, they say the same: `Both` compares them."""
    event = event_of({"_previous_hash": LINK, **data})
    reader = reader_of(event)
    found = reader.read_slices(written(event))
    assert found is None or found == slow(written(event))


@given(at=st.integers(0, 1 << 16), byte=st.integers(0, 255))
def test_one_byte_changed_anywhere_is_read_alike_by_both(at, byte):
    text = bytearray(SAMPLE_TEXT)
    text[at % len(text)] = byte
    found = SAMPLE_READER.read_slices(bytes(text))
    assert found is None or found == slow(bytes(text))
