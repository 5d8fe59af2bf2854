"""The diagnosis of the privacy engine: what is seen on one side, what is wrong beside it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_readings import Unread
from tasks.domain.errors import BadInput
from tasks.domain.mending import to_mend
from tasks.domain.plan import NOTHING
from tasks.domain.privacy_accounting import INFINITE, Kind, Mechanism
from tasks.domain.privacy_anonymisation import Anonymity
from tasks.domain.privacy_blocks import blocks_of
from tasks.domain.privacy_diagnosis import HALTING, assess, diagnose, to_halt
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_noise import Judged, Verdict
from tasks.domain.privacy_plan import CHARGE, RESET, dry_run, plan_privacy_remedy, why_manual
from tasks.domain.privacy_readings import (
    Budget,
    Noise,
    Parameters,
    PrivacyReadings,
    Spending,
    read_budget,
    read_parameters,
    read_probe,
    read_published,
    read_remaining,
    shown,
)
from tasks.domain.privacy_spends import Charge, Release, digest, reconcile
from tasks.domain.severity import Severity

LIMITS = PrivacyLimits()
DELTA = Decimal("0.00001")
HONEST = Judged(Verdict.HONEST, "no violation detected", 2000, 0.4, 1.1)
DOUBTFUL = Judged(Verdict.DOUBTFUL, "the test of its scale gives p = 1e-9", 2000, 1e-9, 0.6)
SOUND = Anonymity(100, 100, 0, {}, (), 9, 3, 0, 0, whole=True, sample="ab")


def release(seq: int, epsilon: str = "0.1", **how: Any) -> Release:
    amount = Decimal(epsilon)
    known: dict[str, Any] = {
        "seq": seq,
        "event": f"event-{seq}",
        "key": (f"session-{seq}", "anon"),
        "block": "anon",
        "epsilon": amount,
        "delta": Decimal(0),
        "mechanism": Mechanism(Kind.LAPLACE, amount),
    }
    return Release(**{**known, **how})


def spending(
    *releases: Release,
    charges: list[Charge] | None = None,
    retired: frozenset[str] = frozenset(),
    unreadable: int = 0,
) -> Spending:
    ledger = charges
    if ledger is None:
        ledger = [Charge(each.key, each.epsilon, each.delta, 1, Decimal(10)) for each in releases]
    blocks, unsettled = blocks_of(releases, ledger, retired, DELTA, LIMITS)
    return Spending(reconcile(releases, ledger, None), blocks, unreadable, unsettled)


def readings(**how: Any) -> PrivacyReadings:
    book = how.get("spending", spending(release(1), release(2)))
    used = book.reconciled.charged if isinstance(book, Spending) else Decimal(0)
    known: dict[str, Any] = {
        "remaining": Decimal(10) - used,
        "parameters": Parameters(Decimal(1), DELTA, Decimal(1), Decimal("1.1"), halted=False),
        "budget": Budget(Decimal(10), used, Decimal(10) - used),
        "spending": book,
        "noise": Noise(HONEST),
        "anonymity": SOUND,
    }
    return PrivacyReadings(**{**known, **how})


def causes(seen: PrivacyReadings) -> dict[str, Cause]:
    return {each.code: each for each in diagnose(seen, LIMITS)}


def first(seen: PrivacyReadings) -> Cause:
    return diagnose(seen, LIMITS)[0]


def test_an_engine_without_a_fault_has_no_cause() -> None:
    assert causes(readings()) == {}
    assert assess(()) is None


def test_an_overspend_is_proven_by_what_the_releases_surely_cost() -> None:
    seen = readings(spending=spending(*(release(seq, "0.5") for seq in range(60))))
    cause = first(seen)
    assert (cause.code, cause.confidence) == ("privacy.overspend", Confidence.PROVEN)
    (worst,) = cause.evidence["worst"]
    assert worst["basic"] == "30"
    assert 19.8 < float(worst["pld"]) < 19.9
    assert worst["block"] == digest("anon")
    assert cause.remedy is not None
    assert (cause.remedy.step, cause.remedy.target) == (RESET, LIMITS.epoch_target)
    assert cause.remedy.destroys != NOTHING
    found = assess((cause,))
    assert found is not None
    assert (found.severity, found.rule) == (Severity.P0, "class.p0.privacy-violation")


def test_a_block_that_was_retired_is_overspent_no_more() -> None:
    spent = [release(seq, "0.5") for seq in range(60)]
    seen = readings(spending=spending(*spent, retired=frozenset({digest("anon")})))
    assert "privacy.overspend" not in causes(seen)


def test_what_only_adds_up_to_more_than_the_budget_is_no_proof() -> None:
    seen = readings(spending=spending(*(release(seq, "0.1") for seq in range(120))))
    cause = causes(seen)["privacy.budget-exhausted"]
    assert (cause.confidence, cause.remedy) == (Confidence.LIKELY, None)
    assert "privacy.overspend" not in causes(seen)


def test_a_release_without_noise_overspends_whatever_it_says_it_costs() -> None:
    bare = release(1, "0.0001", mechanism=Mechanism(Kind.NONE))
    cause = first(readings(spending=spending(bare)))
    assert cause.code == "privacy.overspend"
    assert cause.evidence["worst"][0]["basic"] == "infinite"


def test_a_charge_below_the_mechanisms_cost_is_a_violation() -> None:
    cheap = [release(seq, "0.05", mechanism=_laplace("0.1")) for seq in range(50)]
    cause = first(readings(spending=spending(*cheap)))
    assert (cause.code, cause.confidence) == ("privacy.undercharged", Confidence.PROVEN)
    # Charged as composed tightly it is right, though far below the sum of all epsilons.
    fair = [release(seq, "0.061", mechanism=_laplace("0.1")) for seq in range(50)]
    assert causes(readings(spending=spending(*fair))) == {}


def test_a_ledger_that_charges_more_than_everything_is_a_fault_of_the_accounting() -> None:
    one = release(1)
    seen = readings(spending=spending(one, charges=[Charge(one.key, Decimal(3), DELTA, 1)]))
    cause = causes(seen)["privacy.accounting-bug"]
    assert (cause.confidence, cause.remedy) == (Confidence.LIKELY, None)
    assert to_halt((cause,)) == ()


@pytest.mark.parametrize(
    ("missing", "code"),
    [({3}, "privacy.spend-missing"), ({8, 9}, "privacy.spend-rolled-back")],
)
def test_what_the_ledger_lacks_is_charged_by_the_log(missing: set[int], code: str) -> None:
    made = [release(seq) for seq in range(10)]
    ledger = [
        Charge(each.key, each.epsilon, each.delta, 1) for each in made if each.seq not in missing
    ]
    cause = first(readings(spending=spending(*made, charges=ledger)))
    assert (cause.code, cause.confidence) == (code, Confidence.PROVEN)
    assert cause.remedy is not None
    assert (cause.remedy.step, cause.remedy.destroys) == (CHARGE, NOTHING)
    assert cause.remedy.arguments["rows"] == len(missing)


def test_a_budget_that_says_more_is_left_than_the_log_leaves_is_misstated() -> None:
    seen = readings(budget=Budget(Decimal(10), Decimal(0), Decimal(10)), remaining=Decimal(10))
    assert causes(seen)["privacy.budget-misstated"].evidence["by_the_log"] == "9.8"
    assert causes(readings(remaining=Decimal("9.8001"))) == {}  # a little behind
    behind = causes(readings(remaining=Decimal(10)))["privacy.metric-stale"]
    assert behind.confidence is Confidence.POSSIBLE
    negative = readings(budget=Budget(Decimal(10), Decimal(11), Decimal(-1)))
    assert "privacy.budget-negative" in causes(negative)


def test_one_doubtful_probe_warns_and_two_refuse_releases() -> None:
    once = causes(readings(noise=Noise(DOUBTFUL, HONEST)))["privacy.noise-suspect"]
    assert once.confidence is Confidence.POSSIBLE
    twice = first(readings(noise=Noise(DOUBTFUL, DOUBTFUL)))
    assert (twice.code, to_halt((twice,))) == ("privacy.noise-broken", (twice,))


def test_no_noise_at_all_needs_one_probe_alone() -> None:
    none = Judged(Verdict.BROKEN, "its variance is zero: nothing hides the answer", 2000)
    cause = first(readings(noise=Noise(none)))
    assert (cause.code, cause.confidence) == ("privacy.noise-absent", Confidence.PROVEN)
    assert "mended" in why_manual(cause)


def test_published_identifiers_refuse_releases_and_small_groups_of_a_part_are_only_possible() -> (
    None
):
    leaking = replace(SOUND, canaries=1, identifiers={"e-mail address": 2})
    cause = first(readings(anonymity=leaking))
    assert (cause.code, to_halt((cause,))) == ("privacy.identifiers-published", (cause,))
    small = replace(SOUND, k=2, small=1)
    assert first(readings(anonymity=small)).confidence is Confidence.PROVEN
    part = replace(small, total=10_000, whole=False)
    assert first(readings(anonymity=part)).confidence is Confidence.POSSIBLE


def test_parameters_that_promise_too_little_are_named() -> None:
    weak = Parameters(Decimal(1), Decimal("0.01"), Decimal(1), Decimal("0.5"), halted=False)
    assert set(causes(readings(parameters=weak))) == {"privacy.noise-low", "privacy.delta-high"}


def test_doubled_and_unreadable_releases_are_named() -> None:
    twice = [release(seq, request="one") for seq in (1, 2)]
    seen = readings(spending=spending(*twice, unreadable=3))
    assert {"privacy.double-release", "privacy.unreadable-releases"} <= set(causes(seen))


def test_what_could_not_be_read_is_no_cause_and_says_why() -> None:
    gone = Unread("no answer")
    seen = PrivacyReadings(gone, gone, gone, gone, gone, gone)
    assert causes(seen) == {}
    assert set(seen.unread()) == set(PrivacyReadings.__slots__)


def test_without_knowing_the_epoch_an_overspend_is_left_to_people() -> None:
    book = spending(*(release(seq, "0.5") for seq in range(60)))
    cause = first(readings(spending=book, parameters=Unread("404")))
    assert cause.code == "privacy.overspend"
    assert cause.remedy is None
    assert to_mend((cause,)) is None


def test_a_new_epoch_needs_two_people_and_says_why_nothing_is_reset() -> None:
    cause = first(readings(spending=spending(*(release(seq, "0.5") for seq in range(60)))))
    plan = plan_privacy_remedy("INC-1", cause, datetime.now(UTC) + timedelta(hours=1))
    assert plan.approvers_needed == 2
    assert not plan.destroys_nothing
    assert plan.observed == {"cause": cause.code, "epoch": 1, "retire": [digest("anon")]}
    lines = dry_run((cause,), {}, plan, halted=True)
    assert any("stays spent" in line for line in lines)
    assert any("every release is refused now" in line for line in lines)
    assert any("no row of the ledger changes" in line for line in lines)
    with pytest.raises(BadInput, match="a person must mend it"):
        plan_privacy_remedy("INC-1", replace(cause, remedy=None), plan.expires_at)


def test_every_cause_that_halts_is_known() -> None:
    assert len(HALTING) == 9
    assert shown(INFINITE) == "infinite"


def _laplace(epsilon: str) -> Mechanism:
    return Mechanism(Kind.LAPLACE, Decimal(epsilon))


_BUDGET = {"total_epsilon": 10, "consumed_epsilon": 1.5, "remaining_epsilon": 8.5}


def test_a_budget_is_read_with_what_is_left_below_zero_too() -> None:
    assert read_budget(_BUDGET) == Budget(Decimal(10), Decimal("1.5"), Decimal("8.5"))
    assert read_budget(_BUDGET | {"remaining_epsilon": -2}).remaining == -2


@pytest.mark.parametrize(
    "bad",
    [
        *({"total_epsilon": value} for value in (float("nan"), float("inf"), -1, "10", None, True)),
        {"remaining_epsilon": "<html>"},
        {"consumed_epsilon": 10**400},
        {"consumed_epsilon": [1]},
    ],
)
def test_a_budget_that_is_none_is_refused_with_the_reason(bad: Mapping[str, Any]) -> None:
    with pytest.raises(BadInput, match="expected"):
        read_budget(_BUDGET | bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"epsilon": "1"},
        {"delta": float("nan")},
        {"noise_multiplier": -1},
        {"halted": "yes"},
        {"epoch": 0},
        {"epoch": "2"},
        {"retired": "all"},
    ],
)
def test_parameters_that_are_none_are_refused(bad: Mapping[str, Any]) -> None:
    with pytest.raises(BadInput, match="expected"):
        read_parameters(bad)


def test_an_engine_that_says_little_is_not_said_to_say_more() -> None:
    assert read_parameters({}) == Parameters()


@pytest.mark.parametrize("values", [(), (float("nan"),), (1.0, float("inf"))])
def test_a_metric_that_is_no_number_is_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="privacy_budget_remaining"):
        read_remaining(values)


def test_of_several_series_the_least_counts() -> None:
    assert read_remaining((3.0, -0.5)) == Decimal("-0.5")


@pytest.mark.parametrize(
    "bad",
    [
        {"mechanism": "noise"},
        {"mechanism": ["laplace"]},
        {"scale": 0},
        {"scale": float("nan")},
        {"samples": []},
        {"samples": "1,2"},
        {"samples": [0.0] * 20_001},
    ],
)
def test_a_probe_that_is_none_is_refused(bad: Mapping[str, Any]) -> None:
    with pytest.raises(BadInput):
        read_probe({"mechanism": "laplace", "scale": 1.0, "samples": [0.1, 0.2]} | bad, None)


def test_a_sample_that_is_no_number_is_kept_for_what_it_is() -> None:
    found = read_probe({"mechanism": "laplace", "scale": 1.0, "samples": [1, "x", 10**400]}, None)
    assert found.samples[0] == 1.0
    assert found.samples[1] != found.samples[1]
    assert found.samples[2] == float("inf")


@pytest.mark.parametrize(
    "bad", [{"records": None}, {"records": [1]}, {"total": 0}, {"total": "9"}, {"total": True}]
)
def test_published_records_that_are_none_are_refused(bad: Mapping[str, Any]) -> None:
    with pytest.raises(BadInput, match="expected"):
        read_published({"records": [{}], "total": 1} | bad, 10)
