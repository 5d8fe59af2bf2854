"""The plan that mends the API, in words that a person can say yes to. Pure.

Restart, scale and roll back have steps of their own; here they become one plan of this procedure,
with what tells afterwards whether it has helped.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from tasks.domain.api_limits import ApiLimits
from tasks.domain.api_need_causes import needed_component
from tasks.domain.api_readings import ApiReadings, known
from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.mending import BY_PEOPLE
from tasks.domain.observation import Health
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.restart_plan import RESTART, restart_steps
from tasks.domain.rollback_plan import UNDO, undo_steps
from tasks.domain.scale_plan import SCALE_API, scale_steps

PROCEDURE = "api_service"

_ESSENTIAL = ("answers", "traffic", "looked", "pods")
_JUDGED_BY = "judged_by"
_STEPS: Mapping[str, Callable[[Remedial], tuple[PlanStep, ...]]] = {
    RESTART: restart_steps,
    SCALE_API: scale_steps,
    UNDO: undo_steps,
}
_MENDED_BY_PEOPLE = {
    "api.authentication": "whether these are an attack or a client with an old token, only people "
    "can find out: tell the security team if nobody knows them",
    "api.configuration-change": "what the configuration was before is not kept: a person must put "
    "it right",
    "api.crash-looping": "a restart would change nothing: read the last lines of these pods",
    "api.out-of-memory": "a restart would change nothing: raise the limit, or find what takes it",
    "api.no-node": "make room, or lower what the pods ask for: a person must",
    "api.pods-not-made": "mend what the API server refuses: a person must",
    "api.scaled-to-zero": "who has shut it down knows when it may serve again: a person must",
}


def why_manual(cause: Cause) -> str:
    """Why a person must mend it."""
    return _MENDED_BY_PEOPLE.get(cause.code, BY_PEOPLE)


def next_to_mend(causes: Sequence[Cause], without: Collection[str] = ()) -> Cause | None:
    """The surest cause that is mended by us, or by the procedure of what the API needs.

    `without`: components whose procedure has been gone through already.
    """
    for cause in causes:
        if cause.confidence is Confidence.POSSIBLE:
            continue
        component = needed_component(cause)
        if (component and component not in without) or cause.remedy is not None:
            return cause
    return None


def has_found(incident: Incident) -> bool:
    """Whether the last diagnosis of the incident, of whatever component, names a serious cause."""
    said = [fact.data for fact in incident.facts if fact.kind is FactKind.CAUSES_FOUND]
    causes = said[-1].get("causes") if said else []
    return any(each.get("confidence") != Confidence.POSSIBLE for each in causes or ())


def blind_spots(seen: ApiReadings) -> tuple[str, ...]:
    """What would have to be seen to say that nothing is wrong, and was not."""
    unread = seen.unread()
    found = [f"{name}: {unread[name]}" for name in _ESSENTIAL if name in unread]
    answers = known(seen.answers)
    if answers is not None and answers.health is Health.UNKNOWN:
        found.append(f"answers: {answers.summary}")
    found += [
        f"{name}: {need.summary}"
        for name, need in seen.needs.items()
        if need.health is Health.UNKNOWN
    ]
    return tuple(found)


def plan_api_remedy(incident: str, cause: Cause, expires_at: datetime) -> Plan:
    """The plan against one cause. Raises BadInput for one that has no remedy of ours."""
    remedy = cause.remedy
    if remedy is None or remedy.step not in _STEPS:
        raise BadInput(f"expected a remedy of {cause.code}, found none: a person must mend it")
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{cause.code}: {cause.summary}",
        steps=_STEPS[remedy.step](remedy),
        observed={"cause": cause.code, _JUDGED_BY: _judged_by(cause), **remedy.arguments},
        will_be_lost=remedy.destroys,
        expires_at=expires_at,
    )


def remedy_step(plan: Plan | None) -> str:
    """The plan's own remedy: the step that comes first; empty without a plan of this procedure."""
    if plan is None or plan.procedure != PROCEDURE or not plan.steps:
        return ""
    return plan.steps[0].step


def blind_to(plan: Plan | None, seen: ApiReadings) -> str:
    """What would have to be seen to call the planned cause gone, and was not; empty: it was."""
    part = plan.observed.get(_JUDGED_BY, "pods") if plan is not None else "pods"
    unread = seen.unread()
    if part in unread:
        return f"{part}: {unread[part]}"
    traffic = known(seen.traffic)
    if part == "traffic" and traffic is not None and not traffic.is_enough:
        return "too few requests to tell"
    return ""


def still_noticed(plan: Plan | None, seen: ApiReadings, limits: ApiLimits) -> str:
    """What users still notice of a cause that they were the ones to show; empty: nothing."""
    part = plan.observed.get(_JUDGED_BY, "pods") if plan is not None else "pods"
    traffic = known(seen.traffic)
    if part != "traffic" or traffic is None or not seen.is_troubled(limits):
        return ""
    return traffic.impact.summary


def _judged_by(cause: Cause) -> str:
    """What has shown the cause shows whether it is gone."""
    return "pods" if cause.evidence.get("pods") else "traffic"
