"""What was told to the pager about an incident, read from its facts."""

from tasks.domain.incident import Incident

PAGER = "pagerduty"
"""In the place of a contact, and of a channel: the pager itself."""

PAGED = "paged"
PAGE_ACKNOWLEDGED = "page acknowledged"
PAGE_RESOLVED = "page resolved"


def was_sent(incident: Incident, moment: str) -> bool:
    """Whether the pager has taken the event of that moment."""
    return any(
        told.get("channel") == PAGER and told.get("moment") == moment for told in incident.notified
    )
