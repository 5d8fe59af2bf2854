"""Triages one after the other in one process, as a warm child makes them, and their seconds."""

import json
import os
import subprocess
import sys

from deployments.lab.environment import PROJECT
from tasks.domain.facts import FactKind
from tasks.work import incidents, journal

# The first triage of a process makes Prefect's client; in a warm child that is over before, and so
# is the creation of the run.
_PROGRAM = """
import json, os, sys, time
from prefect import flow
from flows.triage import respond_at_once
from tasks.journal import read_incident
from tasks.notifications import wait_until_told
from tasks.settings import settings

@flow(persist_result=False)
def response(incident_id):
    began = time.time()
    respond_at_once(read_incident(incident_id))
    wait_until_told()
    return began

for name in sys.argv[1:]:
    incident, _, changed = name.partition("=")
    os.environ.update(json.loads(changed or "{}"))
    settings.cache_clear()
    print(json.dumps([incident, response(incident)]))
"""


def declared() -> str:
    return incidents.declare("t", "api", "api_service", by="anna", starts_run=False)


def triaged(*asked: tuple[str, dict[str, str]]) -> dict[str, float]:
    """Seconds from each triage's start to its severity, one after the other in one process."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _PROGRAM,
            *(f"{incident}={json.dumps(changed)}" for incident, changed in asked),
        ],
        env=dict(os.environ),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    began = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    return {
        incident: fact.at.timestamp() - began[incident]
        for incident, _ in asked
        for fact in journal.read(incident).facts
        if fact.kind is FactKind.SEVERITY_ASSIGNED
    }


def crowd() -> float:
    """How many want each processor: limits of seconds are those of a machine of one's own."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
