"""The lab's data: the same for the same seed, and sealed as the log's format says."""

from deployments.lab.dataset import CANARIES, rows
from tasks.domain.ledger import GENESIS_PREV, canonical_line, chain_link, leaf_hash, parse_line


def test_the_same_seed_gives_the_same_records() -> None:
    assert rows(500, 3, "lab") == rows(500, 3, "lab")
    assert rows(500, 3, "lab") == rows(700, 3, "lab")[:500]


def test_another_seed_gives_other_records() -> None:
    assert not {row.leaf for row in rows(500, 3, "lab")} & {row.leaf for row in rows(500, 4, "lab")}


def test_every_record_is_canonical_numbered_and_chained() -> None:
    link = GENESIS_PREV
    for place, row in enumerate(rows(2000, 5, "lab")):
        event = parse_line(row.record)
        assert canonical_line(event) == row.record
        assert (event["seq"], event["_prev"], event["origin"]) == (place, link, "lab")
        assert leaf_hash(row.record) == row.leaf
        assert event["event_type"] == row.event_type
        link = chain_link(row.record, row.leaf)


def test_the_records_are_of_every_kind_and_hold_each_canary() -> None:
    made = rows(5000, 5, "lab")
    kinds = {row.event_type for row in made}
    assert kinds == {
        "access_attempt",
        "annotation",
        "checkpoint",
        "compliance_check",
        "policy_update",
        "privacy_budget_update",
        "session_end",
        "session_start",
    }
    text = b"".join(row.record for row in made)
    assert all(canary.encode() in text for canary in CANARIES)


def test_annotators_are_known_by_pseudonyms_alone() -> None:
    for row in rows(1000, 5, "lab"):
        if row.event_type == "annotation":
            assert parse_line(row.record)["data"]["annotator"].startswith("anon-")
