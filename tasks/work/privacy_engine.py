"""The privacy engine: halted at once, and mended through the door.

A halt needs no approval and passes every hold: it only stops, and can be taken back by a person.
Everything may be called again after a kill at any instruction.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tasks.clients import privacy_engine
from tasks.clients.errors import ClientError, Conflict
from tasks.domain.causes import Cause
from tasks.domain.database_readings import Unread
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.mending import serious
from tasks.domain.plan import Plan
from tasks.domain.privacy_diagnosis import diagnose
from tasks.domain.privacy_plan import PROCEDURE, RESET, ledger_arguments
from tasks.domain.privacy_readings import PrivacyReadings, read_parameters
from tasks.domain.privacy_spends import digest
from tasks.domain.proofs import HALTED
from tasks.work import holding, journal, privacy_ledger
from tasks.work.placement import dpo_clock_of
from tasks.work.privacy_looks import Site, accounts_of, known_books, parameters_of, why

_LOOK_AGAIN_SECONDS = 0.5
_LIFTED = "a person has lifted the hold on releases"

Fence = Callable[[], None]


def halt(site: Site, incident: str, cause: Cause) -> bool:
    """Hold the releases, have the engine refuse them, and see that it does; whether it does.

    The DPO's hour begins as well, if no alert has begun it.
    Once a person has lifted this hold it is not set again for the same cause and as many blocks:
    then it is True that nothing more is to be done.
    """
    blocks = cause.evidence.get("blocks")
    about = f" ({blocks} blocks)" if isinstance(blocks, int) else ""
    reason = f"{cause.code}{about}: no release before a person has looked and lifts this"
    clock = dpo_clock_of(cause.code, datetime.now(UTC))
    journal.append(incident, FactKind.CLOCK_STARTED, clock, key=f"clock:{clock['clock']}")
    refuses, _ = refuse_releases(site, incident, cause.code, reason)
    return refuses


def refuse_releases(site: Site, incident: str, code: str, reason: str) -> tuple[bool, str]:
    """Hold the releases, have the engine refuse them, and see that it does; whether, and in words.

    `code` is the cause's. A hold that a person has lifted is not set again for the same reason:
    then nothing is told or recorded.
    """
    fact = holding.hold_releases(incident, reason)
    if _was_lifted(incident, fact.seq):
        return True, _LIFTED
    refuses, text = _told_to_refuse(site, incident, reason)
    journal.append(
        incident,
        FactKind.VERIFIED,
        {
            "what": HALTED,
            "holds": refuses,
            "summary": text,
            "plan": "",
            "result": {"cause": code},
        },
        key=f"halt:{code}:{refuses}",
    )
    return refuses, text


def _told_to_refuse(site: Site, incident: str, reason: str) -> tuple[bool, str]:
    try:
        privacy_engine.halt(site.api, site.privacy, incident, reason)
        if parameters_of(site).halted is True:
            return True, "the engine refuses every release"
    except (ClientError, BadInput) as error:
        return False, f"the engine could not be told to refuse releases: {why(error)}"
    return False, "the engine does not say that it refuses releases"


def is_halted(site: Site) -> bool:
    """Whether the engine says that it refuses releases."""
    try:
        return parameters_of(site).halted is True
    except (ClientError, BadInput):
        return False


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, read again.

    Once its step has begun it is finished: a run that died has changed what it found.
    """
    plan = _plan_of(incident)
    if incident.begun:
        return dict(plan.observed)
    cause = next(
        (
            each
            for each in diagnose(accounts_of(site), site.limits)
            if each.code == plan.observed.get("cause")
        ),
        None,
    )
    if cause is None or cause.remedy is None:
        return {"cause": "gone"}
    return {"cause": cause.code, **cause.remedy.arguments}


def open_epoch(site: Site, plan: Plan | None, fence: Fence) -> tuple[str, dict[str, Any]]:
    """Retire the planned blocks and open the next epoch. Raises Conflict when the engine did not.

    The blocks' names are found again by their digests: they stand in no plan.
    """
    plan = _about(plan, RESET)
    observed = plan.observed
    wanted = set(observed["retire"])
    read = privacy_ledger.read(known_books(site.books))
    names = sorted({each.block for each in read.releases if digest(each.block) in wanted})
    if {digest(name) for name in names} != wanted:
        raise PlanStale("expected every planned block in the log, found some missing: plan anew")
    epoch = int(observed["epoch"]) + 1
    fence()
    if not is_halted(site):  # a person may have taken it up again since it was planned
        privacy_engine.halt(site.api, site.privacy, plan.incident, "blocks are being retired")
    said = read_parameters(
        privacy_engine.open_epoch(site.api, site.privacy, epoch, names, plan.hash)
    )
    if said.epoch != epoch or not wanted <= said.retired:
        raise Conflict(f"expected the engine in epoch {epoch}, found it in {said.epoch}")
    text = (
        f"{len(names)} blocks are retired for good; epoch {epoch} counts for data about which "
        "nothing was released; releases stay refused until a person lifts the hold and has the "
        "engine take them up again, which we never do"
    )
    # What was on its way is in the log by now; what comes later the engine should have refused.
    until = max(each.seq for each in privacy_ledger.read(known_books(site.books)).releases)
    return text, {
        "epoch": epoch,
        "retired": len(names),
        "blocks": sorted(wanted),
        "until": until,
    }


def charge(site: Site, plan: Plan | None, fence: Fence) -> tuple[str, dict[str, Any]]:
    """Raise the ledger to what the log proves; no row is lowered."""
    if plan is None:
        raise PlanStale("expected an approved plan about the ledger, found none: make a new one")
    books = known_books(site.books)
    gaps = privacy_ledger.read(books).reconciled().gaps
    if gaps and ledger_arguments(gaps)["digest"] != plan.observed.get("digest"):
        raise PlanStale("expected the planned gaps of the ledger, found others: make a new plan")
    rows = privacy_ledger.charge(books, gaps, fence) if gaps else 0
    return f"{rows} rows of the ledger charge what the log proves", {"rows": rows}


def still_there(site: Site, code: str) -> tuple[list[Cause], PrivacyReadings]:
    """Look until the cause is gone or the time is over: what is serious then, and the last look."""
    until = time.monotonic() + site.privacy.verify_seconds
    while True:
        seen = accounts_of(site)
        causes = serious(diagnose(seen, site.limits))
        is_gone = not isinstance(seen.spending, Unread) and all(
            each.code != code for each in causes
        )
        if is_gone or time.monotonic() >= until:
            return list(causes), seen
        time.sleep(_LOOK_AGAIN_SECONDS)


def _was_lifted(incident: str, seq: int) -> bool:
    return any(
        fact.kind is FactKind.HOLD_LIFTED
        and fact.seq > seq
        and fact.data.get("scope") == holding.RELEASES
        for fact in journal.read(incident).facts
    )


def _plan_of(incident: Incident) -> Plan:
    if incident.plan is None or incident.plan.procedure != PROCEDURE:
        raise PlanStale("expected a plan about the privacy engine, found none: make a new one")
    return incident.plan


def _about(plan: Plan | None, step: str) -> Plan:
    """Raises PlanStale for a plan that is not about this step."""
    if plan is None or step not in {each.step for each in plan.steps}:
        raise PlanStale(f"expected an approved plan with {step}, found none: make a new one")
    return plan
