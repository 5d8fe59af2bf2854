"""A step that is due, taken: whoever fills its role now is told, in their own words."""

from datetime import datetime

from tasks.domain.clock_alarms import AGAIN, DPO_MOMENT
from tasks.domain.contacts import known
from tasks.domain.escalation import Due, pending_steps
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.pages import PAGE_ACKNOWLEDGED, PAGE_RESOLVED, PAGER
from tasks.domain.status_drafts import STATUS_PAGE
from tasks.work import (
    incidents,
    journal,
    paging,
    reaching,
    reports,
    responder,
    status_page,
    telling,
)

_ENDED = "closed"
_ORDERED = "SELECT key FROM dispatches WHERE incident = %s AND deployment = %s"


def order_key(incident: str, step: str) -> str:
    """Names the order of a step: it is given once, whoever gives it."""
    return f"escalate:{incident}:{step}"


def due_now(incident: str, now: datetime) -> tuple[Due, ...]:
    """Steps that are due and not yet recorded.

    One that was ordered was due by the clock of whoever ordered it: ours, which may be behind, must
    not lose it, for it is not ordered a second time.
    """
    with responder.connection() as connection:
        rows = connection.execute(_ORDERED, (incident, incidents.ESCALATION)).fetchall()
    ordered = {key for (key,) in rows}
    return tuple(
        step
        for step in pending_steps(journal.read(incident))
        if step.due_at <= now or order_key(incident, step.step) in ordered
    )


def take(incident: str, due: Due, now: datetime, *, last_try: bool) -> None:
    """Tell the step's contact with a live report, and record the step whether or not it was heard.

    Raises Transient unless this is the last try; then nothing is recorded yet.
    """
    if due.contact == PAGER:
        paging.follow(incident, PAGE_ACKNOWLEDGED, last_try=last_try)
        _record(incident, due, PAGER)
        return
    if due.contact == STATUS_PAGE:  # what the page did not take stays due
        status_page.publish(incident, due.step, last_try=last_try)
        return
    reached = reaching.whom(due.contact, now)
    words = text_of(journal.read(incident), due, reached.doubt, now)
    moment = DPO_MOMENT if due.step.startswith(AGAIN) else due.step
    telling.tell(incident, reached.who, moment, words, last_try=last_try, contact=due.contact)
    _record(incident, due, reached.who)


def text_of(state: Incident, due: Due, doubt: str, now: datetime) -> str:
    """Why it comes to them, and how it stands."""
    headline = f"{state.id} escalates to you: {due.reason}"
    if doubt:
        headline = f"{headline}\nWhether you are the one could not be asked: {doubt}"
    return reports.report_of(state, due.contact, headline, now)


def tell_the_end(incident: str, now: datetime, *, last_try: bool) -> None:
    """Tell everybody whom an escalation has called that it is over, and end the page.

    Raises Transient unless this is the last try; who was told by then is not told again.
    """
    state = journal.read(incident)
    called = dict.fromkeys(str(fact.data.get("contact", "")) for fact in state.escalations.values())
    for contact in called:
        if known(contact) is None:
            continue
        who = reaching.whom(contact, now).who
        headline = f"{incident} is closed: {state.outcome}"
        words = reports.report_of(state, contact, headline, now)
        telling.tell(incident, who, _ENDED, words, last_try=last_try, contact=contact)
    paging.follow(incident, PAGE_RESOLVED, last_try=last_try)


def _record(incident: str, due: Due, who: str) -> None:
    data = {"step": due.step, "to": who, "contact": due.contact, "reason": due.reason}
    journal.append(incident, FactKind.ESCALATED, data, key=f"escalated:{due.step}")
