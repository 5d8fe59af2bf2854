"""Steps of the escalation matrix, taken once each."""

from datetime import UTC, datetime

from prefect import task

from tasks.domain.contacts import known
from tasks.domain.escalation import Due
from tasks.retries import NOTIFY, is_last_try
from tasks.work import escalating, incident_channel


def due_escalations(incident: str, now: datetime) -> tuple[Due, ...]:
    """Steps that are due, or were ordered, and not yet recorded."""
    return escalating.due_now(incident, now)


@task(name="Escalate", tags={"runbook:escalation.matrix"}, **NOTIFY)
def escalate(incident: str, due: Due) -> None:
    """Tell whoever fills the step's role now, and record the step whether or not they heard."""
    escalating.take(incident, due, datetime.now(UTC), last_try=is_last_try())


@task(name="Bring them into the channel", **NOTIFY)
def bring_in(incident: str, due: tuple[Due, ...]) -> None:
    """Invite whom the steps have told, and write the pinned summary as it stands."""
    roles = tuple(role for step in due if (role := known(step.contact)) is not None)
    incident_channel.invite(incident, roles, last_try=is_last_try())
    incident_channel.keep_summary(incident, last_try=is_last_try())
