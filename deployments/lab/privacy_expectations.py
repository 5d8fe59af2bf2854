"""What must be true after the privacy engine went wrong: nothing is released, nothing forgotten."""

from decimal import Decimal

from deployments.lab.cluster_expectations import names_the_cause
from deployments.lab.expectations import Check, Situation
from deployments.lab.patient import DATABASE
from deployments.lab.privacy_api import LOCKED
from deployments.lab.privacy_engine_state import Engine
from deployments.lab.privacy_faults import EPSILON, RELEASES, release
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.work.holding import RELEASES as RELEASE_TARGET

_SPENT = "SELECT coalesce(sum(epsilon_used), 0) FROM privacy_budgets"
_RELEASED = (
    "SELECT coalesce(sum((event_data ->> 'epsilon_spent')::numeric), 0) FROM audit_events"
    " WHERE event_type = 'privacy_budget_update'"
)


def of_privacy_overspend(now: Situation) -> list[Check]:
    """Refused at once, the block retired, the ledger says what the log says."""
    state = Engine(now.lab.engine_file).now()
    with now.lab.patient.connect(DATABASE) as connection:
        (charged,) = connection.execute(_SPENT).fetchone() or (Decimal(0),)
        (released,) = connection.execute(_RELEASED).fetchone() or (Decimal(0),)
    approvers = {made.by for made in now.incident.decisions}
    return [
        names_the_cause(now),
        *_refused(now),
        Check(
            "the overspent data is retired, and a new epoch is for other data",
            state.epoch == 2 and len(state.retired) == 1,  # noqa: PLR2004  the one after the first
            f"epoch {state.epoch}, {len(state.retired)} retired",
        ),
        Check("two people have approved it", len(approvers) >= 2, f"{len(approvers)}"),  # noqa: PLR2004
        Check(
            "the ledger charges all that was released",
            released <= charged >= Decimal(repr(EPSILON)) * RELEASES,
            f"{charged:f} charged, {released:f} released",
        ),
    ]


def of_noise_broken(now: Situation) -> list[Check]:
    """Refused at once; the incident stays open for those who mend the code."""
    done = [fact for fact in now.incident.facts if fact.kind is FactKind.STEP_STARTED]
    return [
        names_the_cause(now),
        *_refused(now),
        Check(
            "it waits for a person, and nothing else was changed",
            now.incident.stage is Stage.OPEN and not done,
            now.incident.stage.value,
        ),
    ]


def _refused(now: Situation) -> list[Check]:
    """By the engine itself, whoever asks, and by a hold that only a person lifts."""
    answer = release(now.lab, "anon-nobody-was-released-of-yet", EPSILON)
    holds = [hold for hold in now.incident.held() if hold.scope == RELEASE_TARGET]
    proposed = [fact for fact in now.incident.facts if fact.kind is FactKind.PLAN_DECIDED]
    halted = [
        fact
        for fact in now.incident.facts
        if fact.kind is FactKind.VERIFIED and fact.data.get("what") == "releases are refused"
    ]
    early = bool(halted) and (not proposed or halted[0].seq < proposed[0].seq)
    return [
        Check("a release is refused", answer == LOCKED, f"status {answer}"),
        Check("releases were refused before anybody was asked", early, f"{len(halted)} times"),
        Check("the hold can be lifted by a person alone", bool(holds), f"{len(holds)} holds"),
    ]
