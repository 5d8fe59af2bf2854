"""A storm of alerts, and the parts that it falls on: real processes that may be killed."""

import contextlib
import http.client
import json
import os
import queue
import random
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pytest

from deployments.lab.environment import PROJECT
from deployments.lab.errors import LabError
from deployments.lab.postgres import SUPERUSER
from deployments.lab.processes import Child, Processes
from deployments.lab.state import StateDirectory
from tasks.domain.alertmanager import parse
from tasks.domain.facts import FactKind
from tasks.domain.policy import RoutingPolicy
from tasks.domain.replay import expected_incidents
from tasks.work import journal, responder
from tests.gateway.dispatching import results
from tests.gateway.stack import (
    ALERT_TOKEN,
    answers,
    deploy,
    free_port,
    launch_prefect,
    new_server,
    pointed_at,
    until_true,
)
from tests.gateway.storm_flows import EFFECTS
from tests.room import open_place

COMPONENTS = 100
_SEVERITIES = ("P1", "P2", "P3")
_FLOWS = {
    "incident": "tests.gateway.storm_flows.incident",
    "escalation": "tests.gateway.sample_flows.escalation",
}
LEASE_SECONDS = 15
_LIMIT_OF_RUNS = 8  # as the shipped deployment has it

_ROUTE = """
[[routes]]
name = "part-{part}"
matchers = ['alertname="PartFails", part="{part}"']
component = "part-{part}"
procedure = "triage"
title = "Part {part} fails"
severity = "{severity}"
"""
_REST = """
[[routes]]
name = "the-building-burns"
matchers = ['alertname="BuildingBurns"']
component = "building"
procedure = "triage"
title = "The building burns"
severity = "P0"

[[routes]]
name = "rest"
matchers = []
component = "rest"
procedure = "triage"
title = "Something else"
"""


def policy_text() -> str:
    """A route for each component, their severities mixed, one of P0, and one for the rest."""
    defaults = '[defaults]\nremedy = "manual"\nmax_responses = 2\ncloses_on_resolve = false\n'
    routes = [
        _ROUTE.format(part=f"{number:02}", severity=_SEVERITIES[number % len(_SEVERITIES)])
        for number in range(COMPONENTS)
    ]
    return defaults + "".join(routes) + _REST


def notification(number: int, component: int) -> bytes:
    """The notification of one alert of its own, about one of the components."""
    labels = {"alertname": "PartFails", "part": f"{component:02}", "n": str(number)}
    return _body(labels, f"{number:016x}")


def urgent_notification() -> bytes:
    """The notification of an alert of P0."""
    return _body({"alertname": "BuildingBurns"}, "f" * 16)


def _body(labels: dict[str, str], fingerprint: str) -> bytes:
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "it does not answer any more"},
        "startsAt": "2026-11-23T12:05:46.114Z",
        "fingerprint": fingerprint,
    }
    return json.dumps({"version": "4", "status": "firing", "alerts": [alert]}).encode()


@dataclass(slots=True)
class Sent:
    """What a sender saw: seconds to each 2xx, answers that were none, and incidents opened."""

    seconds: list[float] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    opened: list[tuple[int, float, str]] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Sender:
    """Sends at a steady pace over several connections; like Alertmanager it sends again until 2xx.

    Start it, and `join` it: it ends when every notification has had its 2xx.
    """

    def __init__(
        self, url: str, bodies: Sequence[bytes], seconds: float, connections: int = 8
    ) -> None:
        address = urlsplit(url)
        self._address = (str(address.hostname), int(address.port or 0))
        self._orders: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._bodies = bodies
        self._seconds = seconds
        self.sent = Sent()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work) for _ in range(connections)]
        self._clock = threading.Thread(target=self._pace)

    def start(self) -> None:
        for thread in (*self._threads, self._clock):
            thread.start()

    def join(self) -> Sent:
        for thread in (self._clock, *self._threads):
            thread.join()
        return self.sent

    def _pace(self) -> None:
        began = time.monotonic()
        for number, body in enumerate(self._bodies):
            due = began + number * self._seconds / len(self._bodies)
            time.sleep(max(0.0, due - time.monotonic()))
            self._orders.put((number, body))
        for _ in self._threads:
            self._orders.put(None)

    def _work(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        while (order := self._orders.get()) is not None:
            number, body = order
            while not self._post(connection, number, body):
                connection.close()
                time.sleep(0.5)
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, number: int, body: bytes) -> bool:
        headers = {
            "Authorization": f"Bearer {ALERT_TOKEN}",
            "Content-Type": "application/json",
        }
        at, began = time.time(), time.perf_counter()
        try:
            connection.request("POST", "/alerts", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return self._refused(type(error).__name__)
        seconds = time.perf_counter() - began
        if answer.status not in range(200, 300):
            return self._refused(str(answer.status))
        with self._lock:
            self.sent.seconds.append(seconds)
            for incident in json.loads(content).get("opened", ()):
                self.sent.opened.append((number, at, incident))
        return True

    def _refused(self, why: str) -> bool:
        with self._lock:
            self.sent.refused[why] += 1
        return False


@dataclass(slots=True)
class Gateway:
    """A gateway process with two warm children. Started again, it has the same address."""

    name: str
    url: str
    process: Child

    def await_warm(self) -> None:
        """Until both children could begin at once."""
        until_true(lambda: answers(f"{self.url}/readyz"), 120)
        until_true(lambda: httpx.get(f"{self.url}/readyz").json()["warm_children"] == 2, 120)

    def children(self) -> list[psutil.Process]:
        """The warm children that live just now."""
        try:
            return psutil.Process(self.process.popen.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """`kill -9` of the gateway itself: its children die with it."""
        os.kill(self.process.popen.pid, signal.SIGKILL)
        self.process.popen.wait(30)

    def kill_child(self, chance: random.Random) -> None:
        """`kill -9` of a child, warm or on the way to it; the gateway replaces it."""
        until_true(lambda: self.children() != [], 60)
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            chance.choice(self.children()).kill()


class Parts:
    """PostgreSQL, a Prefect server and gateways, each of them mortal."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.server = new_server(processes, "responder")
        self._prefect_port = free_port()
        self._prefect: Child | None = None

    @property
    def prefect_url(self) -> str:
        return f"http://127.0.0.1:{self._prefect_port}/api"

    def start(self) -> None:
        """PostgreSQL and Prefect, with the flows deployed under the limit that production has."""
        self.server.start()
        with self.server.connect() as connection:
            connection.execute("CREATE DATABASE prefect")
        self._prefect = launch_prefect(self.server, self._processes, self._prefect_port)
        deploy(self.prefect_url, _FLOWS)
        with httpx.Client(base_url=self.prefect_url, timeout=30) as client:
            found = client.get("/deployments/name/incident/incident").raise_for_status().json()
            limit = {"concurrency_limit": _LIMIT_OF_RUNS}
            client.patch(f"/deployments/{found['id']}", json=limit).raise_for_status()

    def start_gateway(self, name: str = "gateway", url: str = "") -> Gateway:
        """A gateway as in production; its children get warm meanwhile."""
        url = url or f"http://127.0.0.1:{free_port()}"
        state = self._processes.state
        policy = state / "policy.toml"
        policy.write_text(policy_text(), encoding="utf-8")
        process = self._processes.start(
            name,
            [sys.executable, "-m", "deployments.gateway"],
            environment=os.environ
            | {
                "PREFECT_API_URL": self.prefect_url,
                "PREFECT_HOME": str(state / f"prefect-of-{name}"),
                "PREFECT_LOGGING_LEVEL": "WARNING",
                "RUNBOOK_GATEWAY__URL": url,
                "RUNBOOK_GATEWAY__POLICY_FILE": str(policy),
                "RUNBOOK_GATEWAY__SPOOL": str(state / f"spool-of-{name}"),
                "RUNBOOK_GATEWAY__WATCHDOG_MINUTES": "0",
                "RUNBOOK_GATEWAY__LEASE_SECONDS": str(LEASE_SECONDS),
            },
            directory=PROJECT,
            grace_seconds=20,
        )
        return Gateway(name, url, process)

    def replace_gateway(self, gateway: Gateway) -> None:
        """Kill it, and start another one in its place, as a supervisor would."""
        gateway.kill()
        self._processes.forget(gateway.process)
        gateway.process = self.start_gateway(gateway.name, gateway.url).process

    def replace_postgres(self) -> None:
        """`kill -9` of every process of the server, and a start that recovers."""
        self.server.kill()
        for _ in range(50):
            try:
                self.server.start()
            except LabError:  # the dead one's memory is not free yet
                time.sleep(0.2)
            else:
                return
        self.server.start()

    def replace_prefect(self) -> None:
        """`kill -9` of the Prefect server, and a start."""
        assert self._prefect is not None
        self._prefect.kill()
        self._processes.forget(self._prefect)
        self._prefect = launch_prefect(self.server, self._processes, self._prefect_port)


@contextmanager
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """All parts but the gateway, running; settings of this process point to their database."""
    with tempfile.TemporaryDirectory(dir=open_place()) as directory:
        processes = Processes(StateDirectory.take(Path(directory)))
        try:
            mortal = Parts(processes)
            mortal.start()
            with pointed_at(mortal.server.dsn(SUPERUSER, "postgres"), monkeypatch):
                with responder.connection() as connection:
                    connection.execute(EFFECTS)
                yield mortal
        finally:
            processes.stop_all()


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds at the end."""

    notifications: int
    alerts: dict[str, set[str]]
    actions: dict[str, int]
    together: dict[str, set[tuple[str, datetime]]]
    unfinished: int
    incidents: set[str]


def stored() -> Stored:
    """Read it all, past everything that the gateway says about it."""
    with responder.connection() as connection:
        (notifications,) = connection.execute("SELECT count(*) FROM notifications").fetchall()[0]
        alerts = connection.execute(
            "SELECT fingerprint, starts_at, incident FROM alerts"
        ).fetchall()
        actions = connection.execute("SELECT incident, count(*) FROM effects GROUP BY 1").fetchall()
        (unfinished,) = connection.execute(
            "SELECT count(*) FROM dispatches WHERE done_at IS NULL"
        ).fetchall()[0]
    opened = journal.facts_of_kinds((FactKind.OPENED,))
    group_of = {fact.incident: str(fact.data["group_key"]) for fact in opened}
    together: dict[str, set[tuple[str, datetime]]] = defaultdict(set)
    placed: dict[str, set[str]] = defaultdict(set)
    for fingerprint, starts_at, incident in alerts:
        together[group_of[incident]].add((fingerprint, starts_at))
        placed[fingerprint].add(incident)
    return Stored(
        notifications=notifications,
        alerts=dict(placed),
        actions=dict(actions),
        together=dict(together),
        unfinished=unfinished,
        incidents=set(group_of),
    )


def reckoned(bodies: Sequence[bytes]) -> dict[str, set[tuple[str, datetime]]]:
    """Which alerts belong together, by a reckoning that knows the policy and nothing of ours."""
    alerts = [alert for body in bodies for alert in parse(body).alerts]
    return expected_incidents(RoutingPolicy.parse(policy_text()), alerts)


def all_done() -> bool:
    """Whether every order is carried out and every alert is in the database."""
    with contextlib.suppress(psycopg.OperationalError, responder.ResponderAway):
        return stored().unfinished == 0
    return False


def check_nothing_lost_nothing_doubled(bodies: Sequence[bytes]) -> Stored:
    """The laws of a storm, whatever was killed in it."""
    found = stored()
    assert found.notifications == len(bodies)
    assert found.together == reckoned(bodies)
    assert {len(incidents) for incidents in found.alerts.values()} == {1}
    assert len(found.incidents) == len(found.together)
    idle = {name: results(name) for name in found.incidents - set(found.actions)}
    assert not idle, f"without an action, and how their runs ended: {idle}"
    assert set(found.actions) == found.incidents
    assert set(found.actions.values()) == {1}
    return found
