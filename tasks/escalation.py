"""Steps of the escalation matrix, taken once each."""

from datetime import datetime

from prefect import task

from tasks.domain.escalation import Due, due_steps
from tasks.domain.facts import FactKind
from tasks.retries import NOTIFY, is_last_try
from tasks.settings import settings
from tasks.work import journal, telling


def due_escalations(incident: str, now: datetime) -> tuple[Due, ...]:
    """Steps that are due and not yet recorded."""
    return due_steps(journal.read(incident), now)


@task(name="Escalate", tags={"runbook:escalation.matrix"}, **NOTIFY)
def escalate(incident: str, due: Due) -> None:
    """Tell the step's contact, and record the step whether or not chat took it.

    A contact that the settings do not know is told by the name that the journal gives.
    """
    contact = str(getattr(settings().contacts, due.contact, due.contact))
    text = f"{incident} escalates to you: {due.reason}"
    telling.tell(incident, contact, due.step, text, last_try=is_last_try())
    journal.append(
        incident,
        FactKind.ESCALATED,
        {"step": due.step, "to": contact, "reason": due.reason},
        key=f"escalated:{due.step}",
    )
