"""The ledger of spends against the log: what is missing, double, or was set back."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.privacy_accounting import Kind, Mechanism
from tasks.domain.privacy_spends import (
    Charge,
    Reconciled,
    Release,
    by_block,
    claimed_of,
    digest,
    is_guessed,
    mechanism_of,
    once,
    reconcile,
    spelled,
)

TENTH, DELTA = Decimal("0.1"), Decimal("1e-9")


def release(seq: int, key: str = "", **how: Any) -> Release:
    given_ = {
        "seq": seq,
        "event": f"event-{seq}",
        "key": (key or f"session-{seq}", "anon"),
        "block": "anon",
        "epsilon": TENTH,
        "delta": DELTA,
        "mechanism": Mechanism(Kind.CLAIMED, TENTH, DELTA),
    }
    return Release(**{**given_, **how})


def charge(key: str, epsilon: Decimal = TENTH, operations: int = 1) -> Charge:
    return Charge((key, "anon"), epsilon, DELTA * operations, operations)


def charged(*releases: Release) -> list[Charge]:
    """The ledger as it should be."""
    found: dict[tuple[str, ...], Charge] = {}
    for each in once(releases):
        known = found.get(each.key, Charge(each.key, Decimal(0), Decimal(0), 0))
        found[each.key] = Charge(
            each.key,
            known.epsilon + each.epsilon,
            known.delta + each.delta,
            known.operations + 1,
        )
    return list(found.values())


def is_clean(found: Reconciled) -> bool:
    return not (found.gaps or found.overcharged or found.unregistered or found.repeated)


def test_a_ledger_that_charges_what_was_released_is_clean() -> None:
    releases = [release(seq) for seq in range(10)]
    names = [each.event for each in releases]
    found = reconcile(releases, charged(*releases), names)
    assert is_clean(found)
    assert (found.releases, found.released, found.charged) == (10, 1, 1)


def test_a_spend_that_is_missing_is_named_with_its_amount() -> None:
    releases = [release(seq) for seq in range(10)]
    ledger = [each for each in charged(*releases) if each.key[0] != "session-4"]
    (gap,) = reconcile(releases, ledger, None).gaps
    assert (gap.key, gap.epsilon, gap.operations) == (("session-4", "anon"), TENTH, 1)
    assert reconcile(releases, ledger, None).lost_from is None


def test_a_charge_that_is_a_little_too_small_is_missing_too() -> None:
    releases = [release(1)]
    ledger = [replace(each, epsilon=each.epsilon * Decimal("0.999")) for each in charged(*releases)]
    assert len(reconcile(releases, ledger, None).gaps) == 1


def test_how_binary_columns_round_is_no_finding() -> None:
    releases = [release(seq, "one") for seq in range(10)]
    ledger = [charge("one", Decimal(repr(sum([0.1] * 10))), 10)]
    assert reconcile(releases, ledger, None).gaps == ()


def test_a_ledger_that_was_set_back_lacks_exactly_the_newest() -> None:
    releases = [release(seq) for seq in range(0, 100, 10)]
    ledger = charged(*releases[:6])
    found = reconcile(releases, ledger, None)
    assert len(found.gaps) == 4
    assert found.lost_from == 60


def test_all_counters_set_to_zero_are_a_ledger_that_was_set_back_to_the_beginning() -> None:
    releases = [release(seq) for seq in range(5, 15)]
    ledger = [replace(each, epsilon=Decimal(0)) for each in charged(*releases)]
    assert reconcile(releases, ledger, None).lost_from == 5


def test_a_release_that_is_newer_than_the_look_need_not_be_charged_yet() -> None:
    releases = [release(seq) for seq in range(10)]
    ledger = charged(*releases[:9])
    assert reconcile(releases, ledger, None, until=8).gaps == ()
    assert reconcile(releases, charged(*releases), None, until=8).overcharged == 0


def test_a_retry_that_is_recorded_twice_is_one_release() -> None:
    first = release(1)
    found = reconcile([first, replace(first, seq=2)], charged(first), None)
    assert is_clean(found)
    assert found.releases == 1


def test_a_retry_that_drew_fresh_noise_is_a_second_release_and_costs_again() -> None:
    twice = [release(1, "one", request="r"), release(2, "one", request="r")]
    found = reconcile(twice, [charge("one")], None)
    assert found.repeated == 1
    assert found.gaps[0].epsilon == TENTH
    assert claimed_of(twice) == {"anon": 2 * TENTH}


def test_who_is_charged_more_than_all_releases_is_a_fault_of_the_accounting() -> None:
    found = reconcile([release(1, "one")], [charge("one", Decimal(5)), charge("ghost")], None)
    assert found.gaps == ()
    assert found.overcharged == 2


def test_a_release_without_a_row_of_its_own_is_counted() -> None:
    releases = [release(seq) for seq in range(3)]
    assert reconcile(releases, charged(*releases), {"event-1"}).unregistered == 2


def test_costs_add_up_by_whose_data_it_was() -> None:
    releases = [release(1), release(2), release(3, block="other")]
    assert by_block(releases) == {
        "anon": {release(1).mechanism: 2},
        "other": {release(1).mechanism: 1},
    }


def test_a_mechanism_that_contradicts_itself_is_none() -> None:
    half = Decimal("0.5")
    assert mechanism_of("", half, DELTA, Decimal("1.1"), None) == Mechanism(
        Kind.CLAIMED, half, DELTA
    )
    assert mechanism_of("laplace", half, DELTA, Decimal(0), None) == Mechanism(Kind.NONE)
    nothing = Decimal(0)
    assert mechanism_of("laplace", nothing, DELTA, None, None) is None
    assert mechanism_of("gaussian", nothing, DELTA, None, None) is None
    assert mechanism_of("sampled_gaussian", nothing, DELTA, Decimal(1), Decimal(2)) is None
    assert mechanism_of("rm -rf", nothing, DELTA, None, None) is None


def test_a_mechanism_is_known_however_its_name_is_written() -> None:
    half = Decimal("0.5")
    assert mechanism_of("Laplace", half, DELTA, None, None) == Mechanism(Kind.LAPLACE, half)
    gaussian = Mechanism(Kind.GAUSSIAN, multiplier=Decimal(2))
    assert mechanism_of(" GAUSSIAN ", half, DELTA, Decimal(2), None) == gaussian
    assert mechanism_of("None", half, DELTA, None, None) == Mechanism(Kind.NONE)


@pytest.mark.parametrize("name", ["discrete_laplace", "exponential", "gaussian", "rm -rf"])
def test_a_mechanism_that_is_not_known_is_counted_as_it_claims(name: str) -> None:
    half = Decimal("0.5")
    found = mechanism_of(name, half, DELTA, None, None)
    assert found == Mechanism(Kind.CLAIMED, half, DELTA)
    assert is_guessed(name, found)
    assert not is_guessed("Claimed", found)
    assert not is_guessed("", found)


def test_only_amounts_are_amounts() -> None:
    for text in ("NaN", "Infinity", "-0.1", "1e300", "-Infinity"):
        assert spelled(Decimal(text)) is None
    assert spelled(Decimal("0.1")) == TENTH


def test_a_digest_tells_names_apart_and_says_neither() -> None:
    assert digest("anon-1") != digest("anon-2")
    assert "anon" not in digest("anon-1")
    assert digest(("a", "b")) != digest(("ab", ""))


numbers = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=20)


@given(numbers, st.randoms(use_true_random=False))
def test_repeating_and_reordering_what_was_recorded_changes_nothing(
    made: list[tuple[int, int]], chance: Any
) -> None:
    releases = [
        release(seq, f"session-{key}", block=f"anon-{block}")
        for seq, (key, block) in enumerate(made)
    ]
    again = [*releases, *chance.sample(releases, len(releases) // 2)]
    chance.shuffle(again)
    ledger = charged(*releases)
    assert reconcile(again, ledger, None) == reconcile(releases, ledger, None)
    assert is_clean(reconcile(again, ledger, None))
    assert by_block(once(again)) == by_block(releases)


@given(numbers)
def test_charging_every_gap_leaves_none_and_lowers_nothing(made: list[tuple[int, int]]) -> None:
    releases = [release(seq, f"session-{key}") for seq, (key, _) in enumerate(made)]
    before = {each.key: each for each in charged(*releases[::2])}
    for gap in reconcile(releases, list(before.values()), None).gaps:
        old = before.get(gap.key, Charge(gap.key, Decimal(0), Decimal(0), 0))
        before[gap.key] = Charge(
            gap.key,
            old.epsilon + gap.epsilon,
            old.delta + gap.delta,
            old.operations + gap.operations,
        )
    assert reconcile(releases, list(before.values()), None).gaps == ()
