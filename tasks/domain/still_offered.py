"""Whether the remedy that a plan was made of is still what the diagnosis offers."""

from collections.abc import Sequence
from typing import Any

from tasks.domain.causes import Cause
from tasks.domain.mending import planned_cause
from tasks.domain.plan import Plan


def still_offered(
    plan: Plan | None, causes: Sequence[Cause], names: Sequence[str]
) -> dict[str, Any]:
    """What the plan was made against, if the same remedy is offered for the same cause.

    `names`: the arguments that must be the same; others may have moved since. Else what is wrong
    now: then the plan no longer fits.
    """
    observed = dict(plan.observed) if plan is not None else {}
    code, step = planned_cause(plan), plan.steps[0].step if plan is not None else ""
    same = next((each for each in causes if each.code == code), None)
    offered = same.remedy if same is not None else None
    if offered is not None and offered.step == step:
        now = {name: offered.arguments.get(name) for name in names}
        if now == {name: observed.get(name) for name in names}:
            return observed
    return {"causes": [each.code for each in causes]}
