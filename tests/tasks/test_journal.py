"""The journal: one chain over all writers, every fact once, nothing half written."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deployments.lab.stack import Lab
from deployments.lab.template import RESPONDER_DATABASE
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.ledger import GENESIS_PREV, leaf_hash, parse_line
from tasks.work import journal, responder

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

INCIDENT = "INC-20260314-030012-a1b2"
NOTE = FactKind.NOTE


def note(text: object, *, incident: str = INCIDENT, key: str | None = None) -> int:
    return journal.append(incident, NOTE, {"text": text}, key=key).seq


def stored() -> list[tuple[Any, ...]]:
    with responder.connection() as connection:
        query = "SELECT seq, incident, kind, actor, line, leaf FROM journal ORDER BY seq"
        return connection.execute(query).fetchall()


def assert_one_chain(length: int) -> None:
    """Every row hashes to its leaf, names the row before it, and agrees with its own columns."""
    rows, link = stored(), GENESIS_PREV
    assert [row[0] for row in rows] == list(range(length))
    for seq, incident, kind, actor, line, leaf in rows:
        event = parse_line(line)
        assert event["_prev"] == link
        assert leaf_hash(line) == leaf
        assert (event["seq"], event["incident"]) == (seq, incident)
        assert (event["kind"], event["actor"]) == (kind, actor)
        link = leaf.hex()


def test_facts_of_several_incidents_form_one_chain() -> None:
    for number in range(30):
        note(f"fact {number}", incident=f"INC-{number % 3}")
    assert_one_chain(30)


def test_a_row_that_was_altered_behind_our_back_breaks_the_chain(patient: Lab) -> None:
    for number in range(5):
        note(f"fact {number}")
    with patient.responder.connect(RESPONDER_DATABASE) as connection:
        connection.execute(
            "UPDATE journal SET line = replace(encode(line, 'escape'), 'fact 2', 'fact X')::bytea"
            " WHERE seq = 2"
        )
    with pytest.raises(AssertionError):
        assert_one_chain(5)


def test_a_fact_is_read_back_as_it_was_written() -> None:
    data = {"text": "ÄÖ \x00 \ud800 \u2028 😀", "deep": [{"n": 1.5, "none": None, "big": 2**70}]}
    written = journal.append(INCIDENT, NOTE, data, actor="bea", key="k")
    assert written.data == data
    (read,) = journal.read(INCIDENT).facts
    assert read == written
    assert (read.actor, read.kind, read.at.utcoffset()) == ("bea", NOTE, written.at.utcoffset())


def test_the_same_key_is_one_fact_and_the_first_one_stays() -> None:
    first = journal.append(INCIDENT, NOTE, {"text": "first"}, key="k")
    again = journal.append(INCIDENT, NOTE, {"text": "second"}, actor="bea", key="k")
    assert again == first
    assert_one_chain(1)


def test_the_same_key_of_two_incidents_is_two_facts() -> None:
    assert note("one", incident="INC-1", key="k") != note("two", incident="INC-2", key="k")
    assert_one_chain(2)


def test_facts_without_a_key_are_never_taken_for_the_same() -> None:
    assert [note("again"), note("again")] == [0, 1]


def in_threads(count: int, act: Callable[[int], int]) -> list[int]:
    """What `act` returns in so many threads that begin at the same moment."""
    journal.all_incidents()  # the connection pool is there: its making is not what is tested
    together = threading.Barrier(count)

    def begin(number: int) -> int:
        together.wait(timeout=30)
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_twenty_threads_at_once_give_one_chain_without_gaps() -> None:
    def write(thread: int) -> int:
        return sum(note(f"{thread}.{number}") >= 0 for number in range(10))

    assert in_threads(20, write) == [10] * 20
    assert_one_chain(200)
    said = {fact.data["text"] for fact in journal.read(INCIDENT).facts}
    assert said == {f"{thread}.{number}" for thread in range(20) for number in range(10)}


def test_twenty_threads_with_one_key_write_one_fact() -> None:
    assert in_threads(20, lambda thread: note(f"by {thread}", key="same")) == [0] * 20
    assert_one_chain(1)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"text": "x" * 2 * 1024 * 1024}, "1048576 bytes"),
        ({"text": float("nan")}, "JSON"),
        ({"text": float("inf")}, "JSON"),
        ({"text": {"a", "set"}}, "JSON"),
        ({"text": b"bytes"}, "JSON"),
        ({1: "a", "1": "b"}, "JSON"),
        ({"text": 10**5000}, "JSON"),
    ],
    ids=["2 MB", "NaN", "infinity", "set", "bytes", "two keys that are one", "huge number"],
)
def test_data_that_is_no_json_is_refused_and_nothing_is_written(
    data: dict[Any, Any], complaint: str
) -> None:
    note("before")
    with pytest.raises(BadInput, match=complaint):
        journal.append(INCIDENT, NOTE, data)
    assert note("after") == 1
    assert_one_chain(2)


def test_data_that_is_nested_too_deep_is_refused_and_nothing_is_written() -> None:
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(BadInput, match="nested"):
        note(deep)
    assert stored() == []


@pytest.mark.parametrize("name", ["incident", "actor", "key"])
@pytest.mark.parametrize("text", ["nul \x00", "half \ud800", "long " + "ä" * 2000])
def test_a_name_that_no_column_holds_is_refused_and_nothing_is_written(
    name: str, text: str
) -> None:
    names: dict[str, Any] = {"incident": INCIDENT, name: text}
    with pytest.raises(BadInput, match=f"expected {name} of a fact"):
        journal.append(kind=NOTE, data={"text": "t"}, **names)
    assert stored() == []
    assert note("after") == 0


def test_a_stranger_id_is_refused_when_it_cannot_be_one_and_empty_otherwise() -> None:
    with pytest.raises(BadInput, match="expected incident of a fact"):
        journal.read("INC-\x00")
    assert journal.read("INC-'; DROP TABLE journal; --").facts == []


def test_a_fact_of_a_transaction_that_fails_leaves_no_gap() -> None:
    note("before")
    with responder.connection() as connection, connection.transaction(force_rollback=True):
        fact, new = journal.append_in(connection, INCIDENT, NOTE, {"text": "never"})
        assert (fact.seq, new) == (1, True)
    assert note("after") == 1
    assert_one_chain(2)


def test_a_watcher_sees_every_fact_once_page_by_page() -> None:
    for number in range(25):
        note(number, incident=f"INC-{number % 2}")
    seen: list[int] = []
    while page := journal.facts_after(seen[-1] if seen else -1, limit=10):
        assert len(page) <= 10
        seen += [fact.seq for fact in page]
    assert seen == list(range(25))
    assert [fact.seq for fact in journal.facts_after(19, limit=3)] == [20, 21, 22]
    assert journal.facts_after(24) == []


def test_facts_are_found_by_kind_and_time_over_all_incidents() -> None:
    note("one", incident="INC-1")
    hold = journal.append("INC-2", FactKind.HOLD_SET, {"scope": "*", "reason": "r"})
    late = journal.append("INC-1", FactKind.HOLD_LIFTED, {"scope": "*"})
    both = (FactKind.HOLD_SET, FactKind.HOLD_LIFTED)
    assert journal.facts_of_kinds(both) == [hold, late]
    assert journal.facts_of_kinds(both, since=late.at) == [late]


def test_open_incidents_are_those_without_an_end_oldest_first() -> None:
    for name in ("INC-1", "INC-2", "INC-3"):
        journal.append(name, FactKind.OPENED, {"title": name})
    journal.append("INC-2", FactKind.CLOSED, {"outcome": "restored"})
    assert journal.open_incidents() == ["INC-1", "INC-3"]
    assert journal.all_incidents() == ["INC-3", "INC-2", "INC-1"]
    assert journal.all_incidents(limit=1) == ["INC-3"]
