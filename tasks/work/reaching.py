"""Who fills a role at a moment: by PagerDuty's schedule, our rotation, office hours, or settings.

Asked in that order; the first one that names somebody wins. A source that does not answer is
passed over and said: at three in the morning a name that may be wrong is better than none.
"""

from dataclasses import dataclass
from datetime import datetime

from tasks.clients import pagerduty
from tasks.clients.errors import ClientError
from tasks.domain.contacts import Contact, known
from tasks.domain.rotation import first_named
from tasks.settings import settings


@dataclass(frozen=True, slots=True)
class Reached:
    """Whom to tell, and how that is known; `doubt` says what could not be asked."""

    who: str
    by: str
    doubt: str = ""


def whom(role: str, at: datetime) -> Reached:
    """Who fills `role` at that moment; a name that is no role is told as it is."""
    contact = known(role)
    if contact is None:
        return Reached(role, "named by the journal")
    scheduled, doubt = _by_schedule(contact, at)
    if scheduled is not None:
        return Reached(scheduled, "PagerDuty's schedule")
    roster = settings().roster
    rotation = roster.rotations.get(contact)
    shift = first_named(at, (rotation.rotation(),) if rotation else (), "")
    if shift:
        return Reached(shift, "rotation", doubt)
    substitute = roster.off_hours.get(contact)
    if substitute is not None and not roster.hours.hours().includes(at):
        return Reached(substitute, "off hours", doubt)
    return Reached(str(getattr(settings().contacts, contact)), "settings", doubt)


def _by_schedule(contact: Contact, at: datetime) -> tuple[str | None, str]:
    """(who, "") or (None, why nobody)."""
    theirs = settings().pagerduty
    schedule = theirs.schedules.get(contact)
    if schedule is None or not theirs.api_token.get_secret_value():
        return None, ""
    try:
        found = pagerduty.on_calls(theirs, schedule, at)
    except ClientError as error:
        return None, str(error)[:200]
    if not found:
        return None, f"nobody is on call by PagerDuty's schedule {schedule}"
    return theirs.members.get(found[0].user, found[0].name), ""
