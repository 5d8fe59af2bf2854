"""When a suspended incident has to go on: its plan is decided, or its time is over."""

from datetime import UTC, datetime

from tasks.domain.approval import EXPIRED, Standing, standing
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.severity import Severity
from tasks.work import incidents, journal


def order_resumption(incident: Incident) -> bool:
    """Order the run to go on if a decision settles its plan; True when that is new.

    The key is the deciding fact's place in the journal: it is ordered once, by whoever sees it
    first, the request that brought the decision or the ticker after a crash.
    """
    if incident.stage is Stage.CLOSED:
        return False
    if standing(incident, datetime.now(UTC)) in {Standing.NONE, Standing.WAITING}:
        return False
    decided = [
        fact.seq
        for fact in incident.facts
        if fact.kind is FactKind.PLAN_DECIDED and fact.data["hash"] == incident.plan_hash
    ]
    if not decided:
        return False
    key = f"resume:{incident.id}:{decided[-1]}"
    priority = (incident.severity or Severity.P2).rank
    return incidents.enqueue(incident.id, incidents.RESUME, key, priority=priority)


def expire(incident: str, now: datetime) -> bool:
    """Record that the standing plan's time is over, once; whether that is so and was new.

    Decided under the journal's lock on the facts as they are then: an approval or a begun step
    that came since the caller looked counts.
    """
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        if state.stage is Stage.CLOSED or standing(state, now) is not Standing.EXPIRED:
            return False
        decided = state.decisions_on_plan()
        data = {
            "hash": state.plan_hash,
            "decision": EXPIRED,
            "reason": "it was not begun in time" if decided else "nobody decided in time",
            "role": "",
        }
        _, is_new = journal.append_in(
            connection,
            incident,
            FactKind.PLAN_DECIDED,
            data,
            key=f"decision:{state.plan_hash}:{EXPIRED}",
        )
    return is_new
