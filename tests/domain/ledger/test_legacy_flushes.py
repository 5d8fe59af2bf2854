"""Chain files of the legacy layout: what they prove about the events beside them."""

import json
import time

import pytest

from tasks.domain.ledger import RecordError
from tasks.domain.ledger.legacy_chain import Placed, order_events
from tasks.domain.ledger.legacy_flushes import (
    Flush,
    chain_hash,
    check_flushes,
    merkle_root,
    parse_flush,
)
from tests.domain.ledger.legacy_log import (
    LegacyLog,
    Logger,
    annotation,
    busy,
    chain_hash_of,
    flush_of,
    merkle_of,
    one_chain,
    written,
)


def placed(log):
    events = {path: json.loads(data) for path, data in log.files.items() if "/events/" in path}
    return [
        Placed(
            bytes.fromhex(event["hash"]),
            bytes.fromhex(event["data"].get("_previous_hash", "")) or None,
            event["event_id"],
            event["session_id"],
            path.split("/")[0],
            event["timestamp"],
        )
        for path, event in events.items()
    ]


def check(log):
    events = placed(log)
    flushes = [parse_flush(log.files[path], path, path.split("/")[0]) for path in log.flushes()]
    spots = check_flushes(flushes, events, order_events(events, lambda _: False))
    return sorted((str(spot.code), spot.first, spot.number) for spot in spots)


@pytest.mark.parametrize("log", [one_chain(), busy(), one_chain(1), one_chain(23, 7)])
def test_what_the_logger_wrote_is_in_order(log):
    assert check(log) == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13])
def test_hashes_are_those_of_the_writer(size):
    hexes = [event["hash"] for event in one_chain(size).events]
    digests = [bytes.fromhex(each) for each in hexes]
    assert chain_hash(digests).hex() == chain_hash_of(hexes)
    assert merkle_root(digests).hex() == merkle_of(hexes)


def test_the_doubled_last_node_gives_one_root_and_the_count_tells_them_apart():
    a, b, c = (bytes([at]) * 32 for at in range(3))
    assert merkle_root([a, b, c]) == merkle_root([a, b, c, c])
    log = one_chain(3)
    hexes = [event["hash"] for event in log.events]
    doubled = {"event_count": 4, "chain_hash": chain_hash_of([*hexes, hexes[-1]])}
    log.edit_flush(0, **doubled)
    assert check(log) == [("SEGMENT_DIGEST", 0, 1)]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"merkle_root": "0" * 64}, [("SEGMENT_DIGEST", 5, 5)]),
        ({"session_id": "session-9"}, [("SEGMENT_DIGEST", 5, 5)]),
        ({"event_count": 4}, [("SEGMENT_DIGEST", 5, 1)]),
        ({"event_count": 6}, [("SEGMENT_DIGEST", 5, 1)]),
        ({"chain_hash": "0" * 64}, [("SEGMENT_DIGEST", 5, 1)]),
        (
            {"event_range": {"start": 1.0, "end": 2.0}},
            [("SOURCE_MISSING", 5, 5), ("TRUNCATED", None, 5)],
        ),
    ],
)
def test_an_altered_chain_file_is_found(members, expected):
    log = one_chain()
    log.edit_flush(1, **members)
    assert check(log) == expected


def test_events_cut_off_at_the_end_are_named_by_their_chain_file():
    log = one_chain()
    log.drop(11)
    assert check(log) == [("TRUNCATED", 11, 1)]
    log.drop(10)
    assert check(log) == [("TRUNCATED", None, 2)]


def test_events_cut_off_are_found_when_all_have_one_time():
    logger = Logger({})
    for number in range(5):
        logger.log(annotation(number), timestamp=1_700_000_000.5)
    log = LegacyLog(logger.files, logger.events)
    assert check(log) == []
    log.drop(3, 4)
    assert check(log) == [("TRUNCATED", 3, 2)]


def test_events_missing_among_others_of_their_time_are_found():
    log = busy()
    log.drop(3, 4)
    assert check(log) == [("SEGMENT_DIGEST", 5, 1)]


def test_a_missing_chain_file_is_found_where_later_ones_are_there():
    log = one_chain()
    del log.files[log.flushes()[1]]
    assert check(log) == [("SOURCE_MISSING", 5, 5)]


def test_a_missing_last_chain_file_may_be_a_writer_that_was_stopped():
    log = one_chain()
    del log.files[log.flushes()[2]]
    assert check(log) == [("UNPROVEN", 10, 2)]


def test_a_second_chain_file_for_the_same_events_is_found():
    log = one_chain()
    log.files["session-1/chains/chain_1.json"] = log.files[log.flushes()[1]]
    assert check(log) == [("INSERTED", None, 1)]


def test_a_flush_in_another_sessions_folder_is_as_the_logger_does_it():
    log = busy()
    moved = [event for event in placed(log) if event.folder != event.session_id]
    assert moved
    assert check(log) == []


@pytest.mark.parametrize("number", [5, 7, 11])
def test_an_event_in_another_folder_than_its_flush_is_found(number):
    log = one_chain()
    path = log.path(number)
    log.files["session-2" + path[len("session-1") :]] = log.files.pop(path)
    assert check(log) == [("SEQ_MISMATCH", number, 1)]


def test_an_event_in_a_wrong_folder_is_found_without_chain_files():
    log = one_chain()
    path = log.path(7)
    log.files["session-2" + path[len("session-1") :]] = log.files.pop(path)
    for flush in log.flushes():
        del log.files[flush]
    assert check(log) == [("SEQ_MISMATCH", 7, 1), ("UNPROVEN", 0, 12)]


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b"\xff",
        b"{" * 70_000,
        written({"event_count": 1}),
        written(flush_of(one_chain().events, "s") | {"event_count": 0}),
        written(flush_of(one_chain().events, "s") | {"event_count": 10**9}),
        written(flush_of(one_chain().events, "s") | {"event_count": True}),
        written(flush_of(one_chain().events, "s") | {"chain_hash": "x"}),
        written(flush_of(one_chain().events, "s") | {"session_id": 7}),
        written(flush_of(one_chain().events, "s") | {"event_range": {"start": 1.0}}),
        written(flush_of(one_chain().events, "s") | {"event_range": {"start": None, "end": 1.0}}),
        written(flush_of(one_chain().events, "s") | {"more": 1}),
    ],
)
def test_what_is_no_chain_file_is_refused(stored):
    with pytest.raises(RecordError):
        parse_flush(stored, "chain_1.json", "s")


def test_hostile_chain_files_cost_no_more_than_a_few_passes():
    size = 20_000
    digests = [at.to_bytes(32, "big") for at in range(1, size + 1)]
    events = [
        Placed(own, before, str(at), "s", "s", 1.0)
        for at, (own, before) in enumerate(zip(digests, [None, *digests[:-1]], strict=True))
    ]
    flushes = [
        Flush(str(at), "s", "s", size // 2 + at % 1000, bytes([at % 256]) * 32, bytes(32), 1.0, 1.0)
        for at in range(20_000)
    ]
    began = time.process_time()
    check_flushes(flushes, events, order_events(events, lambda _: False))
    assert time.process_time() - began < 3
