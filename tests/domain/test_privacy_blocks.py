"""Which blocks are overspent, and which of them a look must not pass over."""

from decimal import Decimal
from typing import Any

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_readings import Unread
from tasks.domain.privacy_accounting import INFINITE, Kind, Mechanism
from tasks.domain.privacy_blocks import Retirement, blocks_of, spending_on
from tasks.domain.privacy_diagnosis import diagnose, to_halt
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_readings import Parameters, PrivacyReadings, Spending
from tasks.domain.privacy_spends import Charge, Reconciled, Release, digest, reconcile

LIMITS = PrivacyLimits()
GONE = Unread("not looked at")
NONE_RETIRED = Retirement(frozenset(), {})


def release(seq: int, block: str, mechanism: Mechanism, epsilon: str = "0.1") -> Release:
    amount = Decimal(epsilon)
    return Release(seq, f"event-{seq}", (block,), block, amount, mechanism.delta, mechanism)


def claim(epsilon: str, delta: str = "0") -> Mechanism:
    return Mechanism(Kind.CLAIMED, Decimal(epsilon), Decimal(delta))


def book(
    *releases: Release,
    charges: tuple[Charge, ...] = (),
    retirement: Retirement = NONE_RETIRED,
    limits: PrivacyLimits = LIMITS,
    unreadable: int = 0,
) -> Spending:
    reconciled: Reconciled = reconcile(releases, charges, None)
    return spending_on(releases, charges, reconciled, retirement, limits.delta, limits, unreadable)


def causes(spending: Spending, parameters: Any = GONE) -> dict[str, Cause]:
    seen = PrivacyReadings(GONE, parameters, GONE, spending, GONE, GONE)
    return {each.code: each for each in diagnose(seen, LIMITS)}


def test_a_delta_that_is_overspent_refuses_releases() -> None:
    made = [release(seq, "anon", claim("0.1", "0.001")) for seq in range(50)]
    found = causes(book(*made), Parameters())
    cause = found["privacy.delta-overspent"]
    assert cause.confidence is Confidence.PROVEN
    assert cause in to_halt(tuple(found.values()))
    assert cause.evidence["worst"][0]["delta_claimed"] == "0.05"
    assert cause.remedy is not None
    assert cause.remedy.arguments["retire"] == [digest("anon")]
    assert "privacy.overspend" not in found  # one finding, said once


def test_a_delta_that_is_used_up_exactly_is_not_overspent() -> None:
    made = [release(seq, "anon", claim("0.1", "0.000001")) for seq in range(10)]
    assert "privacy.delta-overspent" not in causes(book(*made))
    (block,) = book(*made).blocks
    assert block.at_most == 1


def test_epsilons_added_up_bound_nothing_once_the_delta_is_overspent() -> None:
    (block,) = book(release(1, "anon", claim("0.1", "0.001"))).blocks
    assert block.at_most == INFINITE


def test_a_release_without_noise_is_seen_however_many_blocks_there_are() -> None:
    few = PrivacyLimits(blocks_settled=0)
    made = [release(n, f"anon-{n % 3}", claim("1.1"), "1.1") for n in range(60)]
    naked = release(99, "naked", Mechanism(Kind.NONE), "0.01")
    spending = book(*made, naked, limits=few)
    assert spending.unsettled == 3
    found = causes(spending)
    assert found["privacy.overspend"].evidence["worst"][0]["block"] == digest("naked")
    assert found["privacy.unsettled"].confidence is Confidence.LIKELY


def test_what_may_cost_most_is_settled_first_whatever_it_is_charged() -> None:
    one = PrivacyLimits(blocks_settled=1)
    cheap = [release(n, "dear", Mechanism(Kind.LAPLACE, Decimal(1)), "0.01") for n in range(60)]
    kept = [release(n + 100, "kept", claim("1.1"), "1.1") for n in range(20)]
    dear, other = book(*cheap, *kept, limits=one).blocks
    assert (dear.name, other.name) == (digest("dear"), digest("kept"))
    assert dear.tight is not None
    assert other.tight is None


def test_a_release_after_its_block_was_retired_refuses_releases() -> None:
    made = [release(seq, "anon", claim("1"), "1") for seq in range(12)]
    retired = Retirement(frozenset({digest("anon")}), {digest("anon"): 9})
    found = causes(book(*made, retirement=retired))
    cause = found["privacy.retired-released"]
    assert (cause.confidence, cause.evidence["releases"]) == (Confidence.PROVEN, 2)
    assert cause in to_halt(tuple(found.values()))
    assert "privacy.overspend" not in found
    before = Retirement(frozenset({digest("anon")}), {digest("anon"): 11})
    assert "privacy.retired-released" not in causes(book(*made, retirement=before))


def test_what_we_have_retired_is_not_overspent_while_the_engine_does_not_answer() -> None:
    made = [release(seq, "anon", claim("1"), "1") for seq in range(20)]
    ours = Retirement(None, {digest("anon"): 19})
    assert "privacy.overspend" not in causes(book(*made, retirement=ours))
    # Neither the engine nor the journal says what is retired: likely, and why.
    nobody = causes(book(*made, retirement=Retirement(None, None)))["privacy.overspend"]
    assert nobody.confidence is Confidence.LIKELY
    assert "not known which blocks are retired" in nobody.summary
    # The journal knows of no retirement: then there was none.
    known = causes(book(*made, retirement=Retirement(None, {})))["privacy.overspend"]
    assert known.confidence is Confidence.PROVEN


def test_what_only_the_engine_says_is_retired_is_named() -> None:
    made = [release(seq, "anon", claim("1"), "1") for seq in range(20)]
    word = Retirement(frozenset({digest("anon")}), {})
    cause = causes(book(*made, retirement=word))["privacy.retired-unproven"]
    assert (cause.confidence, cause.evidence["blocks"]) == (Confidence.POSSIBLE, 1)
    ours = Retirement(frozenset({digest("anon")}), {digest("anon"): 50})
    assert "privacy.retired-unproven" not in causes(book(*made, retirement=ours))


def test_a_row_that_allows_nothing_is_overspent_by_any_release() -> None:
    made = [release(seq, "anon", claim("1"), "1") for seq in range(5)]
    row = Charge(("anon",), Decimal(5), Decimal(0), 5, total=Decimal(0))
    assert causes(book(*made, charges=(row,)))["privacy.overspend"].confidence is Confidence.PROVEN
    (block,) = blocks_of(made, (row,), frozenset(), LIMITS.delta, LIMITS)[0]
    assert block.cap == 0


def test_charges_for_releases_that_cannot_be_read_are_no_fault_of_the_accounting() -> None:
    ghost = Charge(("ghost",), Decimal(5), Decimal(0), 5)
    found = causes(book(charges=(ghost,), unreadable=5))
    assert "privacy.accounting-bug" not in found
    assert "privacy.unreadable-releases" in found
    assert "privacy.accounting-bug" in causes(book(charges=(ghost,)))


def test_a_release_of_an_unknown_mechanism_is_counted_and_named() -> None:
    made = [
        Release(n, f"e{n}", ("a",), "a", Decimal(1), Decimal(0), claim("1"), is_guessed=True)
        for n in range(20)
    ]
    charged = Charge(("a",), Decimal(20), Decimal(0), 20)
    found = causes(book(*made, charges=(charged,)))
    assert found["privacy.overspend"].confidence is Confidence.PROVEN
    assert found["privacy.unknown-mechanism"].evidence["releases"] == 20
    assert "privacy.accounting-bug" not in found
