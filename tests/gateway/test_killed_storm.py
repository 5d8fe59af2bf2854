"""A storm in which gateway, warm child, PostgreSQL and Prefect server are killed again and again.

RUNBOOK_TEST_SEED=N repeats the kills of a run that went wrong, as far as clocks allow.
"""

import os
import random
import time
from collections.abc import Callable

import pytest

from tests.gateway.stack import until_true
from tests.gateway.storm import (
    COMPONENTS,
    Gateway,
    Parts,
    Sender,
    all_done,
    check_nothing_lost_nothing_doubled,
    notification,
    parts,
)

pytestmark = [pytest.mark.slow, pytest.mark.flows, pytest.mark.timeout(900)]

ALERTS = 1000
KILLS = 20
PAUSE_SECONDS = (0.5, 10.0)  # shorter than some parts need to come back
SENDING_SECONDS = 200.0


def test_twenty_kills_lose_nothing_and_double_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("RUNBOOK_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed}: RUNBOOK_TEST_SEED={seed} repeats it")
    # A component after the other begins to fail, so that actions are begun all the time.
    bodies = [notification(number, number * COMPONENTS // ALERTS) for number in range(ALERTS)]
    with parts(monkeypatch) as mortal:
        gateway = mortal.start_gateway()
        gateway.await_warm()
        sender = Sender(gateway.url, bodies, SENDING_SECONDS)
        sender.start()
        killed = kill_at_random(mortal, gateway, random.Random(seed))
        sent = sender.join()
        until_true(all_done, 300)
        found = check_nothing_lost_nothing_doubled(bodies)
    print(f"killed {', '.join(killed)}")
    print(
        f"{len(found.alerts)} alerts in {len(found.incidents)} incidents,"
        f" {sum(found.actions.values())} actions; sent again after {dict(sent.refused)}"
    )
    assert len(killed) == KILLS


def kill_at_random(mortal: Parts, gateway: Gateway, chance: random.Random) -> list[str]:
    """Each kind of part equally often, in a random order, at random moments; what was killed."""
    kinds: dict[str, Callable[[], None]] = {
        "gateway": lambda: mortal.replace_gateway(gateway),
        "child": lambda: gateway.kill_child(chance),
        "PostgreSQL": mortal.replace_postgres,
        "Prefect": mortal.replace_prefect,
    }
    victims = [*kinds] * (KILLS // len(kinds))
    chance.shuffle(victims)
    for victim in victims:
        time.sleep(chance.uniform(*PAUSE_SECONDS))
        kinds[victim]()
    return victims
