"""What Alertmanager, people and Prefect's UI do to the whole stack, and what can be seen of it.

Everything is looked at from outside: HTTP, the journal, the databases. Nothing of ours is replaced.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx

from deployments.lab.damage import Damage
from deployments.lab.environment import PROJECT
from deployments.lab.faults import FAULTS, notification
from deployments.lab.patient import DATABASE
from deployments.lab.stack import APPROVER, Lab
from tasks.domain.facts import Fact, FactKind
from tasks.work import incidents, journal, responder

PATIENCE = 90.0
"""Seconds until something that must happen counts as not happening; the machine may be busy."""

_Found = TypeVar("_Found")
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_OPEN_ORDERS = "SELECT count(*) FROM dispatches WHERE done_at IS NULL"
_DATABASES = "SELECT datname, oid FROM pg_database WHERE datname LIKE 'rlhf_audit%%'"
_SIGNED = """
SELECT md5(string_agg(seq || md5(record) || md5(leaf), ',' ORDER BY seq))
  FROM audit_records WHERE seq < %s
"""


def until(look: Callable[[], _Found | None], what: str, seconds: float = PATIENCE) -> _Found:
    """The first truthy answer of `look`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Production:
    """What no response may change without an approval: the databases, and every signed row."""

    databases: Mapping[str, int]
    signed_rows: str


class Responding:
    """One stack, and the people and machines around it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._gateway = _client(lab.gateway_url, lab.people[APPROVER])
        self._prefect = _client(f"{lab.prefect_url}/api")

    def close(self) -> None:
        """Wait until nothing of this test is under way, so that the next one finds it so."""
        until(self._is_quiet, "no order is open", seconds=60)
        self._gateway.close()
        self._prefect.close()

    def damage(self, scenario: str = "tampered-records") -> Damage:
        return FAULTS[scenario].inject(self.lab)

    def alert(self, scenario: str = "tampered-records") -> str:
        """The fault's alert through the gateway; the id of the incident that it opened."""
        return self.notify(notification(FAULTS[scenario]))

    def notify(self, body: Mapping[str, Any]) -> str:
        answer = httpx.post(
            f"{self.lab.gateway_url}/alerts",
            json=body,
            headers={"authorization": f"Bearer {self.lab.alert_token}"},
            timeout=30,
        )
        (incident,) = answer.raise_for_status().json()["opened"]
        return str(incident)

    def facts(self, incident: str, *kinds: FactKind) -> list[Fact]:
        return [fact for fact in journal.read(incident).facts if fact.kind in kinds]

    def until_fact(self, incident: str, kind: FactKind, count: int = 1) -> Fact:
        """The `count`-th fact of a kind, as soon as it is journaled."""

        def look() -> Fact | None:
            found = self.facts(incident, kind)
            return found[count - 1] if len(found) >= count else None

        return until(look, f"{incident}: {count} x {kind}")

    def until_note(self, incident: str, words: str) -> Fact:
        """The first note that contains the words."""

        def look() -> Fact | None:
            notes = self.facts(incident, FactKind.NOTE)
            return next((note for note in notes if words in note.data["text"]), None)

        return until(look, f"{incident}: a note with {words!r}")

    def plan(self, incident: str, count: int = 1) -> str:
        """The hash of the incident's `count`-th plan, as soon as its run waits for a decision."""
        proposed = self.until_fact(incident, FactKind.PLAN_PROPOSED, count)
        self.until_idle(incident)
        return str(proposed.data["hash"])

    def decide(self, incident: str, plan: str, verb: str) -> None:
        """The approver's word, through the API that everybody uses."""
        path = f"/incidents/{incident}/plans/{plan}/{verb}"
        self._gateway.post(path, json={"reason": "a test"}).raise_for_status()

    def until_idle(self, incident: str) -> None:
        """Until the gateway has carried out every order of the incident, and its runs stand."""

        def idle() -> bool:
            with responder.connection() as connection:
                row = connection.execute(f"{_OPEN_ORDERS} AND incident = %s", (incident,))
                return row.fetchone() == (0,)

        until(idle, f"{incident}: no order is open")

    def start_by_hand(self, deployment: str, **parameters: str) -> dict[str, Any]:
        """A run as Prefect's UI creates it; its last state, once a process has carried it out."""
        found = self.get(f"/deployments/name/{deployment}")
        path = f"/deployments/{found['id']}/create_flow_run"
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        made = self._prefect.post(path, json=body).raise_for_status().json()

        def ended() -> dict[str, Any] | None:
            run = self.get(f"/flow_runs/{made['id']}")
            return run if run["state"]["type"] in {*_FINAL, "PAUSED"} else None

        return until(ended, f"run of {deployment} ends")

    def run_again(self, incident: str) -> None:
        """One more run of the incident by the gateway, to its end or to its next plan."""
        key = f"{incident}:again:{time.monotonic_ns()}"
        assert incidents.enqueue(incident, incidents.INCIDENT, key)
        self.until_idle(incident)

    def get(self, path: str) -> Any:
        """What Prefect's API says."""
        return self._prefect.get(path).raise_for_status().json()

    def filtered(self, what: str, **body: Any) -> Any:
        """What Prefect's API lists."""
        return self._prefect.post(f"/{what}/filter", json=body).raise_for_status().json()

    def runs(self, incident: str) -> list[dict[str, Any]]:
        """The runs of Prefect that the journal says have worked on the incident."""
        started = self.facts(incident, FactKind.RUN_STARTED)
        named = dict.fromkeys(str(fact.data["flow_run"]) for fact in started)
        return [self.get(f"/flow_runs/{run}") for run in named]

    def flow(self, call: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`call`, such as `flows.integrity:integrity()`, in a plain Python process."""
        module, _, expression = call.partition(":")
        name = expression.partition("(")[0]
        program = f"from {module} import {name}; print('returned', {expression})"
        return subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **variables},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def production(self) -> Production:
        """Looked at as superuser, past everything that the product says."""
        with self.lab.patient.connect(DATABASE) as connection:
            databases = dict(connection.execute(_DATABASES).fetchall())
            row = connection.execute(_SIGNED, (self.lab.sealed_size,)).fetchone()
        assert row is not None
        kept = {name: oid for name, oid in databases.items() if not name.endswith("_pristine")}
        return Production(kept, str(row[0]))

    def said_in_chat(self) -> list[str]:
        """Every message that the simulated Slack has taken."""
        answer = httpx.get(f"{self.lab.chat.url}/_messages", timeout=10)
        return [message["text"] for message in answer.json()["messages"]]

    def _is_quiet(self) -> bool:
        with responder.connection() as connection:
            if connection.execute(_OPEN_ORDERS).fetchone() != (0,):
                return False
        busy = {
            "state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}},
            "parent_task_run_id": {"is_null_": True},
        }
        return not self.filtered("flow_runs", flow_runs=busy)


def alert_of(labels: Mapping[str, str]) -> dict[str, Any]:
    """A notification with one alert of these labels, firing now."""
    body = notification(FAULTS["tampered-records"])
    (alert,) = body["alerts"]
    now = datetime.now(UTC).isoformat()
    alert |= {
        "labels": dict(labels),
        "startsAt": now,
        "fingerprint": f"{time.time_ns():016x}"[-16:],
    }
    return body


def _client(url: str, token: str = "") -> httpx.Client:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)
