"""The plans for the privacy engine, in words that a person can say yes to.

A reset of the budgets, as the runbook calls it, cannot take back what was released: it would only
void the guarantee. So what is overspent is retired, and a new epoch begins on other data alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.domain.causes import Cause
from tasks.domain.errors import BadInput
from tasks.domain.mending import BY_PEOPLE, described
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.privacy_readings import Block, shown
from tasks.domain.privacy_spends import Gap, digest

PROCEDURE = "privacy_engine"
RESET = "privacy.resolution.reset"
CHARGE = "privacy.resolution.charge"

WHY_NO_RESET = (
    "epsilon that was spent stays spent: what was released cannot be taken back, and a counter set "
    "to zero would only hide it. So these blocks are retired, their ledger stays as it is, and the "
    "new epoch is for data about which nothing was released yet"
)

_APPROVERS = {RESET: 2, CHARGE: 1}
_NAMED = 1000

_NOISE = (
    "the code that makes the noise must be mended, and what it has released since it broke must be "
    "judged; releases stay refused"
)
_BY_PEOPLE = {
    "privacy.noise-absent": _NOISE,
    "privacy.noise-broken": _NOISE,
    "privacy.undercharged": "the accountant charges less than its mechanism costs: its code must "
    "be mended; releases stay refused",
    "privacy.identifiers-published": "what was published must be withdrawn, and the anonymisation "
    "mended; releases stay refused",
    "privacy.anonymity-low": "the anonymisation must be mended, and what was published withdrawn",
    "privacy.double-release": "who asked twice must ask with one id, and be answered from what "
    "was released",
    "privacy.delta-overspent": "the engine does not say in which epoch it is: a person must open "
    "the next one",
    "privacy.retired-released": "the engine released what it was told never to release again: its "
    "code must be mended; releases stay refused",
    "privacy.overspend": "the engine does not say in which epoch it is: a person must open the "
    "next one",
}


def why_manual(cause: Cause) -> str:
    """Why a person must mend it."""
    return _BY_PEOPLE.get(cause.code, BY_PEOPLE)


def epoch_arguments(over: Sequence[Block], epoch: int) -> dict[str, Any]:
    """What a new epoch needs: the blocks that are retired, by their digests."""
    return {"epoch": epoch, "retire": sorted(block.name for block in over)[:_NAMED]}


def ledger_arguments(gaps: Sequence[Gap]) -> dict[str, Any]:
    """What a correction needs: which rows, by how much in all, and a digest of all of it."""
    rows = sorted((digest(gap.key), shown(gap.epsilon), shown(gap.delta)) for gap in gaps)
    whole = hashlib.sha256(repr(rows).encode()).hexdigest()
    return {"rows": len(rows), "digest": whole}


def plan_privacy_remedy(incident: str, cause: Cause, expires_at: datetime) -> Plan:
    """One step, with what it needs under the plan's hash. Raises BadInput without a remedy."""
    remedy = cause.remedy
    if remedy is None:
        raise BadInput(f"expected a remedy of {cause.code}, found none: a person must mend it")
    why = f"; {WHY_NO_RESET}" if remedy.step == RESET else ""
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{cause.code}: {cause.summary}{why}",
        steps=(PlanStep(remedy.step, remedy.action, remedy.target, remedy.destroys),),
        observed={"cause": cause.code, **remedy.arguments},
        will_be_lost=remedy.destroys,
        expires_at=expires_at,
        approvers_needed=_APPROVERS[remedy.step],
    )


def dry_run(
    causes: Sequence[Cause], unread: Mapping[str, str], plan: Plan, *, halted: bool
) -> list[str]:
    """What looking without touching has shown, line by line."""
    lines = described(causes, unread)
    lines.append(
        "every release is refused now"
        if halted
        else "releases are not known to be refused: nothing is changed before they are"
    )
    if plan.steps[0].step == RESET:
        lines.append(f"why not simply reset: {WHY_NO_RESET}")
        lines += [f"would retire block {name}" for name in plan.observed["retire"][:20]]
        lines.append(f"would open epoch {plan.observed['epoch'] + 1}; no row of the ledger changes")
    else:
        lines.append(f"would raise {plan.observed['rows']} rows of the ledger, and lower none")
    return lines
