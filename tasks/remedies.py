"""What every procedure records: the causes that were found, and whether the symptom is gone."""

from collections.abc import Sequence

from prefect import task

from tasks.domain.causes import Cause
from tasks.domain.facts import FactKind
from tasks.domain.mending import Effect, planned_cause
from tasks.domain.plan import Plan
from tasks.domain.proofs import same_look
from tasks.retries import READ
from tasks.settings import settings
from tasks.work import journal, pod_restarts, shut_downs

_TEXT_LIMIT = 2000


@task(name="Record the causes", **READ)
def record_causes(incident: str, component: str, causes: Sequence[Cause]) -> None:
    """Record what the diagnosis of the component found; nothing found is an answer as well."""
    earlier = sum(fact.kind is FactKind.CAUSES_FOUND for fact in journal.read(incident).facts)
    journal.append(
        incident,
        FactKind.CAUSES_FOUND,
        {"component": component, "causes": [cause.as_json() for cause in causes]},
        key=f"causes:{component}:{earlier}",
    )


@task(name="Leave out what was restarted too often", **READ)
def keep_to_cap(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """The same causes; a restart too many within the hour is no remedy, whatever the incident."""
    return pod_restarts.kept_to_cap(causes, settings().changes.restarts_per_hour)


def planned_steps(incident: str) -> tuple[str, ...]:
    """The steps of the standing plan, in their order."""
    plan = journal.read(incident).plan
    return tuple(step.step for step in plan.steps) if plan is not None else ()


@task(name="Look whether it was shut down on purpose", **READ)
def shut_down_on_purpose(plan: Plan) -> str:
    """Why the plan is none to be proposed: what it would change stands still on purpose."""
    found = shut_downs.in_the_way(plan.procedure, {step.target for step in plan.steps})
    return "" if found is None else found.text


@task(name="Record what the remedy has brought", **READ)
def record_effect(incident: str, effect: Effect) -> None:
    """Record the look after the plan's last step: with it the plan is over."""
    state = journal.read(incident)
    journal.append(
        incident,
        FactKind.VERIFIED,
        {
            "what": same_look(planned_cause(state.plan)),
            "holds": effect.gone,
            "summary": effect.text[:_TEXT_LIMIT],
            "plan": state.plan_hash,
            "result": {"causes": list(effect.causes)},
        },
    )
