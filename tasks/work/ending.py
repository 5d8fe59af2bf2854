"""The end of an incident that its run has mended, unless more has come in the meantime."""

from tasks.domain.alert import AlertStatus
from tasks.domain.alert_state import State
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.outcome import Outcome
from tasks.work import alert_states, incidents, journal


def close(incident: str, outcome: Outcome) -> bool:
    """Record the end; False when alerts that this run never saw still fire.

    Decided under the journal's lock: an alert either is seen here, or finds the incident closed
    and opens another. Those that came before the run began were its business and are not asked.
    """
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        unseen = _firing_since_the_run_began(state)
        if unseen and any(
            alert.fingerprint in unseen and alert.state is not State.RESOLVED
            for alert in alert_states.states_of_in(connection, incident)
        ):
            return False
        data = {"outcome": outcome.ending.value, "summary": outcome.summary}
        journal.append_in(connection, incident, FactKind.CLOSED, data, key="closed")
    return True


def _firing_since_the_run_began(state: Incident) -> set[str]:
    began = max((fact.seq for fact in state.facts if fact.kind is FactKind.RUN_STARTED), default=-1)
    return {
        str(fact.data.get("fingerprint"))
        for fact in state.facts
        if fact.kind is FactKind.ALERT_RECEIVED
        and fact.seq > began
        and fact.data.get("status") == AlertStatus.FIRING.value
    }
