"""What keeps an incident open although its alerts have resolved: a pure reading of facts."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from tasks.domain.alert_state import AlertState, State
from tasks.domain.approval import Standing, standing
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident


def last_firing_seq(incident: Incident) -> int | None:
    """Place in the journal of the newest firing alert's fact; None when no alert brought it."""
    places = [
        fact.seq
        for fact in incident.facts
        if fact.data.get("status") == "firing" and fact.kind is FactKind.ALERT_RECEIVED
    ]
    return max(places, default=None)


def is_quiet(incident: Incident, now: datetime, quiet: timedelta) -> bool:
    """Whether it may close by itself and its alerts have been resolved for so long."""
    return (
        incident.closes_on_resolve
        and incident.closed_at is None
        and incident.alerts_resolved_at is not None
        and now - incident.alerts_resolved_at >= quiet
    )


def what_keeps_open(incident: Incident, now: datetime) -> str:
    """Why people or a run are not done with it, by its own facts; empty when nothing does.

    A plan that waits or was approved is somebody's decision, a begun step half a change, a hold
    and a clock promises to others. Without a severity nobody has looked at it yet. The run that
    proves an approved plan closes the incident itself; where the proof failed, the plan keeps it
    open on purpose, however quiet its alerts are: what was changed without success a person must
    see and close.
    """
    if standing(incident, now) in {Standing.WAITING, Standing.APPROVED}:
        return "a plan is before a person or to be carried out"
    if incident.begun - incident.steps.keys():
        return "a step was begun and is not done"
    if incident.holds:
        return "a hold stands"
    if incident.clocks.keys() - incident.clocks_stopped:
        return "a clock runs"
    return "" if incident.severity is not None else "its first checks are not done"


def what_is_unrest(states: Iterable[AlertState], answered_at: datetime | None) -> str:
    """Why the alerts themselves do not count as over; empty when they do.

    `answered_at`: when Alertmanager last said in full what fires. An alert of a notification that
    left others out is no word about the others: Alertmanager must have been asked since.
    """
    for alert in states:
        if alert.state is not State.RESOLVED:
            return f"an alert is {alert.state}"
        cut_at = alert.truncated_at
        if cut_at is not None and (answered_at is None or answered_at <= cut_at):
            return "alerts were left out, and Alertmanager has not been asked since"
    return ""
