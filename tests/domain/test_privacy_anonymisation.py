"""Published records: who is still named in them, and who hides in how large a group."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.privacy_anonymisation import Anonymity, Floors, Published, look_at

CANARY = "canary-7f0c quill"
FLOORS = Floors(
    quasi=("model", "day"),
    sensitive="reward",
    k=5,
    l=2,
    canaries=(CANARY,),
    direct=("email",),
)


def row(**how: Any) -> dict[str, Any]:
    return {"model": "policy-7b", "day": "2026-03-02", "reward": "low"} | how


def seen(records: list[dict[str, Any]], total: int | None = None) -> Anonymity:
    return look_at(Published(tuple(records), len(records) if total is None else total), FLOORS)


def sound(number: int = 6) -> list[dict[str, Any]]:
    return [row(reward="low" if each % 2 else "high") for each in range(number)]


def test_a_group_of_six_with_two_values_is_anonymous_enough() -> None:
    found = seen(sound())
    assert (found.k, found.l, found.small, found.uniform, found.leaks) == (6, 2, 0, 0, False)


def test_a_small_group_and_one_with_a_single_value_are_counted() -> None:
    records = [*sound(), *(row(day="2026-03-03") for _ in range(3))]
    found = seen(records)
    assert (found.k, found.l, found.small, found.uniform) == (3, 1, 1, 1)


def test_of_a_part_nothing_is_said_that_only_the_whole_can_say() -> None:
    assert seen(sound(3), total=3000).whole is False
    assert seen(sound(3)).whole is True


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("write to ann.smith@example.org now", "e-mail address"),
        ("call +44 20 7946 0958", "telephone number"),
        ("from 10.20.3.4", "network address"),
        ("078-05-1120", "social security number"),
        ("DE89 3704 0044 0532 0130 00", "bank account"),
        ({"deep": ["x", {"deeper": "ann@example.org"}]}, "e-mail address"),
    ],
)
def test_a_direct_identifier_is_found_wherever_it_stands(value: Any, kind: str) -> None:
    found = seen([*sound(), row(note=value)])
    assert found.identifiers == {kind: 1}
    assert found.leaks


@pytest.mark.parametrize(
    "value", ["anon-3f9a8c7d6e5b4a39", "2026-03-02T06:00:00+00:00", "0.4312", "v1.2.3", "a" * 5000]
)
def test_what_names_nobody_is_no_identifier(value: str) -> None:
    assert not seen([*sound(), row(note=value)]).leaks


def test_a_planted_canary_is_found_and_counted_once_a_record() -> None:
    found = seen([*sound(), row(note=f"x {CANARY} y", other=CANARY)])
    assert found.canaries == 1


def test_a_column_that_must_not_be_there_is_named() -> None:
    assert seen([*sound(), row(email="")]).direct == ("email",)


def test_no_value_of_a_record_is_in_what_is_kept() -> None:
    secret = "ann.smith@example.org"
    kept = str(seen([*sound(), row(note=f"{secret} {CANARY}")]).as_json())
    for value in (secret, CANARY, "policy-7b", "2026-03-02"):
        assert value not in kept


def test_no_records_are_no_leak_and_no_anonymity() -> None:
    found = seen([])
    assert (found.k, found.l, found.leaks) == (None, None, False)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=40), st.randoms())
def test_order_does_not_matter_and_the_smallest_group_is_k(days: list[str], chance: Any) -> None:
    records = [row(day=day, reward=str(place % 3)) for place, day in enumerate(days)]
    shuffled = list(records)
    chance.shuffle(shuffled)
    assert seen(records) == seen(shuffled)
    assert seen(records).k == (min(map(days.count, set(days))) if days else None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
        ),
        max_leaves=10,
    )
)
def test_whatever_a_record_holds_it_is_looked_at_and_not_stumbled_over(value: Any) -> None:
    assert seen([row(model=value, reward=value)]).looked == 1
