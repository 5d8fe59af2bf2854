"""A response whose one action takes half a second and leaves its mark in a table each time.

Nothing in that table forbids a second mark: if an action were done twice, it would show. It is
done once since the target knows late holders by their fencing token, as a real one would.
"""

import os
import time

from prefect import flow, task
from prefect.runtime import flow_run

from tasks.domain.facts import FactKind
from tasks.work import journal, locks, responder

EFFECTS = """
CREATE TABLE effects (
    incident text NOT NULL, run text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
ACTION = "storm.act"
ACTION_SECONDS = 0.5

_DONE = "SELECT 1 FROM effects WHERE incident = %s"
_HOLDS = "SELECT 1 FROM locks WHERE target = %s AND token = %s FOR SHARE"


@flow(name="incident", persist_result=False)
def incident(incident_id: str) -> None:
    state = journal.read(incident_id)
    run = str(flow_run.id)
    journal.append(incident_id, FactKind.RUN_STARTED, {"flow_run": run, "pid": os.getpid()})
    if state.done(ACTION) is None:
        act(incident_id, run)


@task(persist_result=False)
def act(incident_id: str, run: str) -> None:
    target = f"storm/{incident_id}"
    lock = locks.take(target, holder=incident_id, lease_seconds=60)
    begun = {"step": ACTION, "target": target, "fencing_token": lock.token}
    journal.append(incident_id, FactKind.STEP_STARTED, begun)
    time.sleep(ACTION_SECONDS)
    with responder.connection() as connection, connection.transaction():
        held = connection.execute(_HOLDS, (target, lock.token)).fetchone()
        assert held, "a newer run has the target"
        if connection.execute(_DONE, (incident_id,)).fetchone() is None:
            connection.execute("INSERT INTO effects VALUES (%s, %s)", (incident_id, run))
    done = {"step": ACTION, "target": target, "summary": "acted", "result": {}}
    journal.append(incident_id, FactKind.STEP_DONE, done, key=f"done:{ACTION}")
    lock.release()
