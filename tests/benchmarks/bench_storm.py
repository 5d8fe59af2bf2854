"""2,000 distinct alerts over 40 components in 7 seconds, and one of P0 in their middle.

Run it: python -m pytest tests/benchmarks/bench_storm.py -rP. Everything is real: HTTP,
PostgreSQL, a Prefect server, a gateway with two warm children. Each incident has one action that
takes half a second.
"""

import time

import pytest

from tasks.domain.facts import FactKind
from tasks.work import journal, responder
from tests.benchmarks.figures import Row, show
from tests.gateway.stack import until_true
from tests.gateway.storm import (
    Sender,
    all_done,
    check_nothing_lost_nothing_doubled,
    notification,
    parts,
    urgent_notification,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ALERTS = 2000
COMPONENTS = 40
CONNECTIONS = 64  # so that a slow answer does not slow the storm down
SECONDS = 7.0
ANSWER_LIMIT_SECONDS = 0.5
URGENT_LIMIT_SECONDS = 2.0


def test_storm_loses_nothing_doubles_nothing_and_lets_the_urgent_one_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storm = [notification(number, number % COMPONENTS) for number in range(ALERTS)]
    middle = ALERTS // 2
    bodies = [*storm[:middle], urgent_notification(), *storm[middle:]]
    with parts(monkeypatch) as mortal:
        gateway = mortal.start_gateway()
        gateway.await_warm()
        sender = Sender(gateway.url, bodies, SECONDS, CONNECTIONS)
        began = time.monotonic()
        sender.start()
        sent = sender.join()
        took = time.monotonic() - began
        until_true(all_done, 400)
        drained = time.monotonic() - began
        found = check_nothing_lost_nothing_doubled(bodies)
        ((posted, urgent),) = [(at, name) for number, at, name in sent.opened if number == middle]
        urgent_started = run_starts(urgent)[0] - posted
        starts = sorted(run_starts(name)[0] - at for _, at, name in sent.opened)
        waits = queue_lengths()
    p99 = sent.percentile(0.99)
    print("figure | found | limit")
    print(f"alerts stored | {len(found.alerts)} of {len(bodies)} | all")
    print(f"incidents | {len(found.incidents)}, as reckoned | {COMPONENTS + 1}")
    print(f"actions | {sum(found.actions.values())}, each once | {COMPONENTS + 1}")
    print(f"sending took | {took:.1f} s | {SECONDS} s")
    print(f"2xx p50 | {sent.percentile(0.5) * 1000:.0f} ms | -")
    print(f"2xx worst | {max(sent.seconds) * 1000:.0f} ms | -")
    print(f"all: POST to run started, median and last | {starts[20]:.1f} s, {starts[-1]:.1f} s | -")
    print(f"runs | {waits} | -")
    print(f"everything carried out after | {drained:.1f} s | -")
    assert not sent.refused
    assert took < SECONDS * 1.2  # else it was no storm
    storm = f"storm of {len(bodies)} alerts"
    show(
        [
            Row(f"{storm}, 2xx p99", p99, ANSWER_LIMIT_SECONDS),
            Row(f"{storm}, POST of the P0 to its run", urgent_started, URGENT_LIMIT_SECONDS),
        ]
    )


def run_starts(incident: str) -> list[float]:
    """When the incident's runs started, in seconds of the epoch."""
    facts = journal.read(incident).facts
    return [fact.at.timestamp() for fact in facts if fact.kind is FactKind.RUN_STARTED]


def queue_lengths() -> int:
    """How many orders were carried out."""
    with responder.connection() as connection:
        (row,) = connection.execute("SELECT count(*) FROM dispatches").fetchall()
    return int(row[0])
