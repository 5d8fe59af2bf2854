"""Causes in what was spent: blocks overspent or retired, the ledger, the charges, what is said.

An overspend is proven by what the releases surely cost, never by the engine's own figures. Pure.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.database_readings import known
from tasks.domain.plan import NOTHING
from tasks.domain.privacy_accounting import INFINITE
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_plan import CHARGE, RESET, epoch_arguments, ledger_arguments
from tasks.domain.privacy_readings import (
    COMPONENT,
    Block,
    Budget,
    Parameters,
    PrivacyReadings,
    Spending,
    shown,
)

_NAMED = 5
_NOTICEABLE = Decimal("0.001")
"""Of a budget: the engine and its metric may be a little behind the log."""


def overspent(
    spending: Spending | None, parameters: Parameters | None, limits: PrivacyLimits
) -> Iterable[Cause]:
    """Blocks of data about which more was released than may be, surely or perhaps."""
    blocks = spending.blocks if spending else ()
    short = [each for each in blocks if each.is_delta_overspent]
    over = [
        each
        for each in blocks
        if each.at_least > each.cap
        and (each not in short or each.at_least < INFINITE or each.basic == INFINITE)
    ]
    known_retired = spending is not None and spending.is_retirement_known
    sure = Confidence.PROVEN if known_retired else Confidence.LIKELY
    why = "" if known_retired else "; it is not known which blocks are retired already"
    if over:
        worst = over[0]
        yield Cause(
            "privacy.overspend",
            COMPONENT,
            sure,
            f"{_blocks(over)} overspent: the releases about block {worst.name} cost an epsilon of "
            f"at least {_short(worst.at_least)}, and {_short(worst.cap)} may be spent{why}",
            {"blocks": len(over), "worst": [each.as_json() for each in over[:_NAMED]]},
            _retiring(over, parameters, limits),
        )
    if short:
        worst = max(short, key=lambda each: each.delta_claimed)
        yield Cause(
            "privacy.delta-overspent",
            COMPONENT,
            sure,
            f"{_blocks(short)} overspent in delta: the releases about block {worst.name} claim "
            f"{_short(worst.delta_claimed)} together, and {_short(worst.delta)} is promised{why}",
            {"blocks": len(short), "worst": [each.as_json() for each in short[:_NAMED]]},
            _retiring(short, parameters, limits),
        )
    near = [each for each in blocks if each not in over + short and each.claimed > each.cap]
    if near:
        yield Cause(
            "privacy.budget-exhausted",
            COMPONENT,
            Confidence.LIKELY,
            f"added up, the releases about {_blocks(near)} exceed the budget; composed tightly "
            "they may not yet",
            {"blocks": len(near), "worst": [each.as_json() for each in near[:_NAMED]]},
        )
    if spending and spending.unsettled:
        may = [each for each in blocks if each.tight is None and each.at_most > each.cap]
        yield Cause(
            "privacy.unsettled",
            COMPONENT,
            Confidence.LIKELY if may else Confidence.POSSIBLE,
            f"{spending.unsettled} blocks were not computed tightly, for there are too many; "
            f"{len(may)} of them may be overspent",
        )


def _retiring(
    blocks: Sequence[Block], parameters: Parameters | None, limits: PrivacyLimits
) -> Remedial | None:
    """The new epoch without these blocks; None where it is not known which one counts."""
    if parameters is None:
        return None
    return Remedial(
        RESET,
        f"retire {_blocks(blocks)} for good, and open epoch {parameters.epoch + 1} for others",
        limits.epoch_target,
        f"nothing may be released about {_blocks(blocks)} ever again",
        epoch_arguments(blocks, parameters.epoch),
    )


def released_though_retired(spending: Spending | None) -> Iterable[Cause]:
    """Blocks that nothing is released about any more, so they say: held against the log."""
    if spending is None:
        return
    if spending.late:
        releases = sum(spending.late.values())
        worst = max(spending.late, key=lambda name: (spending.late[name], name))
        yield Cause(
            "privacy.retired-released",
            COMPONENT,
            Confidence.PROVEN,
            f"after {len(spending.late)} blocks of data had been retired for good, {releases} more "
            f"releases were made about them, most about block {worst}",
            {
                "blocks": len(spending.late),
                "releases": releases,
                "worst": sorted(spending.late)[:_NAMED],
            },
        )
    if spending.unproven:
        yield Cause(
            "privacy.retired-unproven",
            COMPONENT,
            Confidence.POSSIBLE,
            f"only the engine says that {spending.unproven} blocks of data are retired: what was "
            "released about them is counted nowhere",
            {"blocks": spending.unproven},
        )


def not_charged(spending: Spending | None, limits: PrivacyLimits) -> Iterable[Cause]:
    """What the log has and the ledger of spends has not, or not so."""
    if spending is None:
        return
    book = spending.reconciled
    missing = sum((gap.epsilon for gap in book.gaps), Decimal(0))
    evidence = {
        "rows": len(book.gaps),
        "epsilon": shown(missing),
        "released": shown(book.released),
        "charged": shown(book.charged),
        "releases": book.releases,
        "unregistered": book.unregistered,
    }
    remedy = Remedial(
        CHARGE,
        f"lower what is left: charge {len(book.gaps)} rows with what the log proves was released",
        limits.ledger_target,
        NOTHING,
        ledger_arguments(book.gaps),
    )
    if book.gaps and book.lost_from is not None:
        yield Cause(
            "privacy.spend-rolled-back",
            COMPONENT,
            Confidence.PROVEN,
            f"the ledger of spends was set back: of all releases from record {book.lost_from} on "
            f"an epsilon of {_short(missing)} is not charged, though the log has it",
            evidence | {"from": book.lost_from},
            remedy,
        )
    elif book.gaps:
        yield Cause(
            "privacy.spend-missing",
            COMPONENT,
            Confidence.PROVEN,
            f"spends are missing from the ledger: {len(book.gaps)} rows lack an epsilon of "
            f"{_short(missing)} that the log has",
            evidence,
            remedy,
        )
    elif book.unregistered:
        yield Cause(
            "privacy.unregistered-releases",
            COMPONENT,
            Confidence.LIKELY,
            f"{book.unregistered} releases of the log have no row of their own",
            evidence,
        )
    if book.repeated:
        yield Cause(
            "privacy.double-release",
            COMPONENT,
            Confidence.LIKELY,
            f"{book.repeated} requests were answered more than once with fresh noise, as after a "
            "retry: each answer costs again",
            {"requests": book.repeated},
        )
    if spending.unreadable:
        yield Cause(
            "privacy.unreadable-releases",
            COMPONENT,
            Confidence.LIKELY,
            f"{spending.unreadable} releases do not say what they cost: the epsilon is unknown",
            {"releases": spending.unreadable},
        )
    if book.guessed:
        yield Cause(
            "privacy.unknown-mechanism",
            COMPONENT,
            Confidence.LIKELY,
            f"{book.guessed} releases name a mechanism that is not known, or contradict it: they "
            "are counted as what they claim to cost, which may be too little",
            {"releases": book.guessed},
        )


def charged_wrongly(spending: Spending | None) -> Iterable[Cause]:
    """Charges against what the mechanisms cost: too little hides a loss, too much is a fault."""
    if spending is None:
        return
    low = [each for each in spending.blocks if _is_undercharged(each)]
    if low:
        worst = low[0]
        yield Cause(
            "privacy.undercharged",
            COMPONENT,
            Confidence.PROVEN,
            f"releases about {_blocks(low)} are charged below what their mechanism costs: block "
            f"{worst.name} {_short(worst.claimed)} instead of {_short(worst.at_most)}",
            {"blocks": len(low), "worst": [each.as_json() for each in low[:_NAMED]]},
        )
    overcharged = spending.reconciled.overcharged - spending.unreadable
    if overcharged > 0:  # what cannot be read was charged, and explains one row each
        yield Cause(
            "privacy.accounting-bug",
            COMPONENT,
            Confidence.LIKELY,
            f"{overcharged} rows of the ledger are charged more than all their releases added up: "
            "the accounting is wrong",
            {"rows": overcharged},
        )


def _is_undercharged(block: Block) -> bool:
    if block.basic == INFINITE and block.at_least == INFINITE:
        return False  # without noise: that is an overspend, whatever is charged
    return block.stated and block.tight is not None and block.claimed < block.at_least


def misstated(seen: PrivacyReadings, spending: Spending | None) -> Iterable[Cause]:
    """What the engine and its metric say is left, against what the log leaves."""
    budget, metric = known(seen.budget), known(seen.remaining)
    if budget is not None and budget.remaining < 0:
        yield Cause(
            "privacy.budget-negative",
            COMPONENT,
            Confidence.LIKELY,
            f"the engine itself says that {_short(-budget.remaining)} more than its budget is "
            "spent",
            _said(budget),
        )
    if budget is None or spending is None:
        return
    used = sum((each.claimed for each in spending.blocks), Decimal(0))
    left, slack = budget.total - used, (budget.total + used) * _NOTICEABLE
    if budget.remaining - left > slack:
        yield Cause(
            "privacy.budget-misstated",
            COMPONENT,
            Confidence.LIKELY,
            f"the engine says that an epsilon of {_short(budget.remaining)} is left; by the log it "
            f"is {_short(left)}",
            _said(budget) | {"by_the_log": shown(left)},
        )
    elif metric is not None and metric - left > slack:
        yield Cause(
            "privacy.metric-stale",
            COMPONENT,
            Confidence.POSSIBLE,
            f"the metric says that an epsilon of {_short(metric)} is left, the engine "
            f"{_short(budget.remaining)}: it is behind, or wrong",
            _said(budget) | {"metric": shown(metric)},
        )


def _said(budget: Budget) -> dict[str, str]:
    return {
        "total": shown(budget.total),
        "consumed": shown(budget.consumed),
        "remaining": shown(budget.remaining),
    }


def _blocks(blocks: Sequence[Block]) -> str:
    return "one block of data" if len(blocks) == 1 else f"{len(blocks)} blocks of data"


def _short(number: Decimal) -> str:
    return "infinity" if number == INFINITE else f"{number:.4g}"
