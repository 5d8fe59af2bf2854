"""When a suspended incident has to go on: its plan is decided, or its time is over."""

from datetime import UTC, datetime

from tasks.domain.approval import EXPIRED, Standing, standing
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident, Stage
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
    return incidents.enqueue(incident.id, incidents.RESUME, key)


def expire(incident: Incident) -> None:
    """Record that the standing plan's time is over, once."""
    journal.append(
        incident.id,
        FactKind.PLAN_DECIDED,
        {
            "hash": incident.plan_hash,
            "decision": EXPIRED,
            "reason": "nobody decided in time"
            if not incident.decisions_on_plan()
            else "it was not begun in time",
            "role": "",
        },
        key=f"decision:{incident.plan_hash}:{EXPIRED}",
    )
