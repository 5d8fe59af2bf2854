"""Hashing 100,000 legacy events, beside parsing and serialising each of them again.

Run it: python -m pytest tests/benchmarks/bench_legacy.py -rP. The peer is what anybody would write,
and less: it refuses no duplicate keys, and reads neither links nor signatures.
"""

import hashlib
import json
import random
import time
import uuid
from collections.abc import Callable

import pytest

from tasks.domain.ledger.legacy_shapes import EventReader
from tests.benchmarks.figures import beside, show

pytestmark = pytest.mark.slow

EVENTS = 300_000
ROUNDS = 5
TIMES_AS_FAST = 5
_HASHED = ("event_id", "event_type", "session_id", "timestamp", "data")
_RANDOM = random.Random(20260314)


def test_events_are_hashed_five_times_as_fast_as_by_serialising_again() -> None:
    events = stored_events()
    reader = EventReader()

    def ours() -> None:
        for event in events:
            found = reader.read_slices(event) or reader.parse(event)
            assert found.computed == found.stored

    # processor time, turn by turn, so that other work on the machine changes neither
    spent: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(ROUNDS):
        spent["ours"].append(_timed(ours))
        spent["peer"].append(_timed(lambda: _serialise_again(events)))
    best = {name: min(seconds) for name, seconds in spent.items()}
    size = sum(map(len, events)) // len(events)
    work = f"hash {EVENTS:,} legacy events of {size:,} bytes"
    peer = "json.loads, json.dumps, sha256"
    show([beside(work, best["ours"], peer, best["peer"], 1 / TIMES_AS_FAST)])


def stored_events() -> list[bytes]:
    """A training run as the audited system logs it: batches of annotations, policy updates."""
    events: list[bytes] = []
    session, previous = _uuid(), ""
    for number in range(EVENTS):
        event_type, data = _event(number)
        if previous:
            data["_previous_hash"] = previous
        event: dict[str, object] = {
            "event_id": _uuid(),
            "event_type": event_type,
            "session_id": session,
            "timestamp": 1_700_000_000 + number * 0.1234567,
            "data": data,
        }
        text = json.dumps(event, sort_keys=True, separators=(",", ":"))
        previous = hashlib.sha256(text.encode()).hexdigest()
        event |= {"hash": previous, "signature": _hex(512), "merkle_proof": None}
        events.append(json.dumps(event, sort_keys=True, separators=(",", ":")).encode())
    return events


def _event(number: int) -> tuple[str, dict[str, object]]:
    random_ = _RANDOM.random
    if number % 3 == 0:
        return "policy_update", {
            "update_id": _uuid(),
            "checkpoint_name": f"step_{number}",
            "parameter_delta_norm": random_(),
            "gradient_norm": random_() * 10,
            "learning_rate": 1e-05,
            "step_number": number,
            "loss": random_(),
            "metadata": {"kl": random_() / 100, "clip_fraction": random_(), "epoch": 3},
        }
    size = _RANDOM.choice((4, 8, 16))
    return "annotation", {
        "batch_id": _uuid(),
        "batch_size": size,
        "prompt_hashes": [_hex(32) for _ in range(size)],
        "response_hashes": [_hex(32) for _ in range(size)],
        "original_rewards": [round(random_(), 2) for _ in range(size)],
        "noisy_rewards": [_RANDOM.gauss(0.5, 0.2) for _ in range(size)],
        "annotator_ids": [f"annotator-{_RANDOM.randrange(1000)}" for _ in range(size)],
        "privacy_cost": 0.01,
        "privacy_remaining": random_() * 10,
        "metadata": {"interface": "v2", "language": "en"},
    }


def _hex(size: int) -> str:
    return _RANDOM.randbytes(size).hex()


def _uuid() -> str:
    return str(uuid.UUID(int=_RANDOM.getrandbits(128), version=4))


def _serialise_again(events: list[bytes]) -> None:
    for stored in events:
        event = json.loads(stored)
        hashed = {name: event[name] for name in _HASHED}
        text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == event["hash"]


def _timed(act: Callable[[], None]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began
