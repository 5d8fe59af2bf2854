"""One verdict over several sources: the worst status, every finding, nothing glossed over."""

from itertools import permutations, product

import pytest

from tasks.domain.ledger import Code, Finding, Status, Verdict, combine

ORDER = (Status.VERIFIED, Status.UNVERIFIABLE, Status.TAMPERED)
"""From good to bad."""


def verdict(source: str, status: Status = Status.VERIFIED, **more: object) -> Verdict:
    return Verdict(status, source, records=10, signed=8, **more)


@pytest.mark.parametrize("statuses", list(product(ORDER, repeat=3)))
def test_the_worst_status_stands(statuses: tuple[Status, ...]) -> None:
    found = combine(*(verdict(str(number), one) for number, one in enumerate(statuses)))
    assert found.status is max(statuses, key=ORDER.index)


def test_every_order_of_the_sources_says_the_same() -> None:
    sources = [
        verdict("table", Status.UNVERIFIABLE),
        verdict("store", Status.TAMPERED),
        verdict("anchor"),
    ]
    assert {combine(*each).status for each in permutations(sources)} == {Status.TAMPERED}


def test_a_verdict_alone_stays_as_it_is() -> None:
    alone = verdict("table", Status.TAMPERED, reason="why", origin="o", root="r", bytes=3)
    combined = combine(alone)
    assert combined.status is Status.TAMPERED
    assert (combined.records, combined.signed, combined.bytes) == (10, 8, 3)
    assert (combined.source, combined.origin, combined.root) == ("table", "o", "r")
    assert "why" in combined.reason


def test_all_findings_stay_in_order() -> None:
    first, second = Finding(Code.MODIFIED, "table", 1), Finding(Code.TRUNCATED, "store", 5, 3)
    third = Finding(Code.ROLLBACK, "anchor")
    found = combine(
        verdict("table", Status.TAMPERED, findings=(first,)),
        verdict("store", Status.TAMPERED, findings=(second,)),
        verdict("anchor", Status.TAMPERED, findings=(third,)),
    )
    assert found.findings == (first, second, third)
    assert found.damaged() == (1, 0)  # what the store lost is not missing from the table


def test_every_reason_is_kept_with_its_source() -> None:
    found = combine(
        verdict("table", Status.UNVERIFIABLE, reason="no table"),
        verdict("store"),
        verdict("anchor", Status.TAMPERED, reason="older"),
    )
    assert found.reason == "table: no table; anchor: older"
    assert found.source == "table+store+anchor"


def test_sizes_are_the_tables_and_the_cost_is_that_of_all() -> None:
    found = combine(
        Verdict(Status.VERIFIED, "table", 10, 8, seconds=2.0, bytes=100),
        Verdict(Status.VERIFIED, "store", 8, 8, seconds=3.0, bytes=50, origin="o", root="r"),
    )
    assert (found.records, found.signed) == (10, 8)
    assert (found.seconds, found.bytes) == (3.0, 150)
    assert (found.origin, found.root) == ("o", "r")
