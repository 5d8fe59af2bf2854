"""What is wrong with ourselves, in words for the person who looks: shown above everything else."""

from starlette.datastructures import State

from tasks.domain.errors import BadInput
from tasks.work import routing


def problems(app: State) -> list[str]:
    """One sentence each, the worst first; empty when all is well."""
    found = [*_storing(app), *_threads(app), *_prefect(app)]
    return found + _policy()


def _policy() -> list[str]:
    try:
        refused = routing.problem()
    except BadInput as error:
        return [f"No alert can be routed, our policy file was never good: {error}"]
    return [f"The routing policy was refused, the former one stays: {refused}"] if refused else []


def _threads(app: State) -> list[str]:
    """Parts that were started with the application and no longer run."""
    said = {
        "dispatcher": "No response is started here: the dispatcher does not run.",
        "ticker": "No clock of an incident is watched here: the ticker does not run.",
        "reconciler": "Alerts that never arrived are not noticed: the reconciler does not run.",
    }
    parts = {name: getattr(app, name) for name in said}
    return [said[name] for name, part in parts.items() if part is not None and not part.is_alive]


def _storing(app: State) -> list[str]:
    found = []
    if not app.group_commit.is_alive:
        found.append("No alert is taken here: the thread that stores them does not run.")
    if app.group_commit.spooled:
        found.append(
            f"{app.group_commit.spooled} notifications wait on disk until our database takes them."
        )
    return found


def _prefect(app: State) -> list[str]:
    if app.dispatcher is None or app.dispatcher.prefect_answers:
        return []
    return ["Prefect does not answer: alerts are taken, responses wait until it does."]
