"""Realistic RLHF events, the same for the same seed, and their sealed lines.

The records hold what such records hold, personal data included: some carry an e-mail address, the
text of a prompt or a token. Those are canaries, strings that must never turn up in Prefect, the
journal, chat, logs or reports; tests search for them.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from tasks.domain.ledger import GENESIS_PREV, canonical_line, chain_link, leaf_hash

CANARY_EMAIL = "quill.canary@annotators.invalid"
CANARY_PROMPT = "canary prompt: why does my discharge letter from ward seven name two doctors"
CANARY_TOKEN = "canary-token-5f0c9f7e21d84b36"  # noqa: S105  made up, to be looked for
CANARIES = (CANARY_EMAIL, CANARY_PROMPT, CANARY_TOKEN)

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""Time of the first event."""

_ANNOTATORS, _MODELS, _SESSION_LENGTH = 40, ("policy-7b", "policy-13b", "reward-7b"), (24, 72)
_EPSILON_TOTAL, _EPSILON_STEP, _NOISE, _CLIP, _DELTA = 10.0, 0.0004, 1.1, 1.0, 1e-5
_DELTA_STEP = 1e-9
_CANARY_EVERY = 97
_FRAMEWORKS = ("eu_ai_act", "gdpr")


class Row(NamedTuple):
    """One row of audit_records."""

    seq: int
    record: bytes
    leaf: bytes
    event_type: str


@dataclass(slots=True)
class Head:
    """The end of a log: how many records, and what the next one must carry as `_prev`."""

    origin: str
    size: int = 0
    link: str = GENESIS_PREV
    leaf: bytes = b""

    def append(self, event: Mapping[str, Any]) -> Row:
        """The next record: the event with its place, origin and link; the head moves on."""
        line = canonical_line(
            {**event, "_prev": self.link, "origin": self.origin, "seq": self.size}
        )
        leaf = leaf_hash(line)
        row = Row(self.size, line, leaf, str(event["event_type"]))
        self.size, self.leaf, self.link = self.size + 1, leaf, chain_link(line, leaf)
        return row

    def copy(self) -> "Head":
        """A head that can move without moving this one."""
        return Head(self.origin, self.size, self.link, self.leaf)


def rows(count: int, seed: int, origin: str) -> list[Row]:
    """The first `count` records of a log that begins with them."""
    head = Head(origin)
    return [head.append(event) for event in _taken(events(seed), count)]


def events(seed: int, start: datetime = START) -> Iterator[dict[str, Any]]:
    """Events without end, as the served system's components emit them, one session after another.

    Two calls with the same arguments give the same events.
    """
    chance = random.Random(seed)  # noqa: S311  reproducible on purpose
    clock, number, epsilon = start, 0, 0.0
    while True:
        session = f"session-{chance.getrandbits(64):016x}"
        for event_type, data in _session(chance):
            clock += timedelta(milliseconds=chance.randint(40, 900))
            if event_type == "privacy_budget_update":
                epsilon = (epsilon + _EPSILON_STEP) % _EPSILON_TOTAL
                data.update(_budget(epsilon))
            if event_type == "annotation" and number % _CANARY_EVERY == 0:
                data.update(_canaries(number))
            yield {
                "data": data,
                "event_id": f"{chance.getrandbits(128):032x}",
                "event_type": event_type,
                "session_id": session,
                "timestamp": clock.isoformat(),
            }
            number += 1


def _session(chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """What happens in one annotation session, and the training step that it feeds."""
    model, step = chance.choice(_MODELS), chance.randint(1, 400_000)
    yield "access_attempt", _access(chance)
    yield "session_start", {"model": model, "guideline": f"v{chance.randint(3, 9)}"}
    annotator = f"anon-{sha256(str(chance.randrange(_ANNOTATORS)).encode()).hexdigest()[:16]}"
    for _ in range(chance.randint(*_SESSION_LENGTH)):
        yield "annotation", _annotation(chance, annotator, model)
    yield "privacy_budget_update", {"annotator": annotator}
    yield (
        "policy_update",
        {
            "model": model,
            "step": step,
            "kl_divergence": round(chance.uniform(0.001, 0.09), 6),
            "loss": round(chance.uniform(0.05, 2.5), 6),
            "reward_mean": round(chance.gauss(0.4, 0.2), 6),
        },
    )
    if chance.random() < 0.3:  # noqa: PLR2004  about every third session
        yield (
            "checkpoint",
            {
                "model": model,
                "step": step,
                "sha256": f"{chance.getrandbits(256):064x}",
                "bytes": chance.randint(10**9, 3 * 10**10),
            },
        )
    if chance.random() < 0.1:  # noqa: PLR2004  about every tenth
        yield (
            "compliance_check",
            {
                "framework": chance.choice(_FRAMEWORKS),
                "score": round(chance.uniform(86, 100), 1),
                "violations": 0,
            },
        )
    yield "session_end", {"model": model, "annotations_kept": chance.randint(20, 72)}


def _annotation(chance: random.Random, annotator: str, model: str) -> dict[str, Any]:
    prompt = f"{chance.getrandbits(256):064x}"
    return {
        "annotator": annotator,
        "model": model,
        "noise": round(chance.gauss(0, _NOISE), 6),
        "preferred": chance.choice("ab"),
        "prompt_sha256": prompt,
        "response_sha256": sha256(prompt.encode()).hexdigest(),
        "reward": round(chance.gauss(0.5, 0.3), 4),
        "seconds": round(chance.uniform(4, 180), 1),
    }


def _access(chance: random.Random) -> dict[str, Any]:
    denied = chance.random() < 0.02  # noqa: PLR2004  people mistype
    return {
        "outcome": "denied" if denied else "granted",
        "resource": chance.choice(("annotations", "exports", "policies")),
        "user": f"svc-{chance.randrange(12):02d}",
        "address": f"10.20.{chance.randrange(4)}.{chance.randrange(1, 255)}",
    }


def _budget(epsilon: float) -> dict[str, Any]:
    return {
        "clip_norm": _CLIP,
        "consumed_epsilon": round(epsilon, 6),
        "delta": _DELTA,
        "delta_spent": _DELTA_STEP,
        "epsilon": 1.0,
        "epsilon_spent": _EPSILON_STEP,
        "noise_multiplier": _NOISE,
        "total_epsilon": _EPSILON_TOTAL,
    }


def _canaries(number: int) -> dict[str, Any]:
    which = number // _CANARY_EVERY % len(CANARIES)
    return {("annotator_email", "prompt", "upload_token")[which]: CANARIES[which]}


def _taken(source: Iterable[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    for _, event in zip(range(count), source, strict=False):
        yield event
