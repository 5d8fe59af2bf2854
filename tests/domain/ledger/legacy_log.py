"""An independent writer of the legacy layout, as rlhf-audit-trail 0.1 writes it, and its damage.

Nothing here imports what is under test: the logger is written again from its description.
"""

import copy
import functools
import hashlib
import json
import os
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BATCH = 5
HASHED = ("event_id", "event_type", "session_id", "timestamp", "data")
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)


@functools.cache
def private_key(name="log"):
    """One key for each name; 2048 bits, because making 4096 takes seconds."""
    assert name
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def public_pem(name="log"):
    return (
        private_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def written(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def hash_of(event):
    return hashlib.sha256(written({key: event[key] for key in HASHED})).hexdigest()


def signature_of(text, key="log"):
    return private_key(key).sign(text.encode(), PSS, hashes.SHA256()).hex()


def chain_hash_of(hexes):
    return hashlib.sha256("".join(hexes).encode()).hexdigest()


def merkle_of(hexes):
    while len(hexes) > 1:
        pairs = [(hexes[at], hexes[min(at + 1, len(hexes) - 1)]) for at in range(0, len(hexes), 2)]
        hexes = [hashlib.sha256((left + right).encode()).hexdigest() for left, right in pairs]
    return hexes[0]


def encrypted(text, password, salt=None):
    salt, start = salt or os.urandom(16), os.urandom(16)
    key = hashlib.pbkdf2_hmac("sha256", password, salt, 100_000, 32)
    rest = 16 - len(text) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    return salt + start + encryptor.update(text + bytes([rest]) * rest) + encryptor.finalize()


@dataclass
class Logger:
    """The served system's AuditLogger: links, signs, buffers, and flushes in batches."""

    files: dict[str, bytes]
    session: str = "session-1"
    batch: int = BATCH
    key: str | None = "log"
    clock: float = 1_700_000_000.25
    previous: str | None = None
    buffer: list[dict] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)

    def log(self, data, event_type="annotation", session=None, timestamp=None):
        self.clock += 0.125
        event = {
            "event_id": str(uuid.UUID(int=RANDOM.getrandbits(128), version=4)),
            "event_type": event_type,
            "session_id": session or self.session,
            "timestamp": self.clock if timestamp is None else timestamp,
            "data": dict(data),
        }
        if self.previous:
            event["data"]["_previous_hash"] = self.previous
        event["hash"] = hash_of(event)
        event["signature"] = signature_of(event["hash"], self.key) if self.key else None
        event["merkle_proof"] = None
        self.previous = event["hash"]
        self.buffer.append(event)
        self.events.append(event)
        if len(self.buffer) >= self.batch:
            self.flush()
        return event

    def flush(self):
        if not self.buffer:
            return
        for event in self.buffer:
            self.files[event_path(event, self.session)] = written(event)
        self.clock += 0.001
        path = f"{self.session}/chains/chain_{int(self.clock * 1000)}.json"
        self.files[path] = written(flush_of(self.buffer, self.session, self.clock))
        self.buffer = []


RANDOM = random.Random(20260314)


def flush_of(events, session, clock=1_700_000_001.5):
    hexes = [event["hash"] for event in events]
    return {
        "session_id": session,
        "event_count": len(events),
        "chain_hash": chain_hash_of(hexes),
        "merkle_root": merkle_of(hexes),
        "timestamp": clock,
        "event_range": {"start": events[0]["timestamp"], "end": events[-1]["timestamp"]},
    }


def event_path(event, folder=None):
    return f"{folder or event['session_id']}/events/{event['event_id']}.json"


def annotation(number):
    return {
        "batch_id": f"batch-{number}",
        "batch_size": 2,
        "prompt_hashes": [hashlib.sha256(b"%d" % at).hexdigest() for at in (number, number + 1)],
        "original_rewards": [0.5, 1e-05 * number],
        "noisy_rewards": [0.1 + number / 3, -2.0],
        "annotator_ids": ["ann-1", "ann-2"],
        "metadata": {"note": 'said "yes" \\ \u00e9\n', "ui": None},
    }


@dataclass
class LegacyLog:
    """A log to damage: `files` by path without audit_logs/, `events` in the order of the logger."""

    files: dict[str, bytes]
    events: list[dict]

    def copy(self):
        return LegacyLog(dict(self.files), copy.deepcopy(self.events))

    def path(self, number):
        wanted = f"/events/{self.events[number]['event_id']}.json"
        return next(path for path in self.files if path.endswith(wanted))

    def put(self, number, event, **dumps):
        self.files[self.path(number)] = (
            json.dumps(event, **dumps).encode() if dumps else written(event)
        )

    def edit(self, number, *, rehash=False, strip=False, sign=None, **data):
        """Change an event's data as somebody would who may write the files."""
        event = copy.deepcopy(self.events[number])
        event["data"].update(data or {"batch_id": "evil"})
        if rehash:
            event["hash"] = hash_of(event)
        if strip:
            event["signature"] = None
        if sign:
            event["signature"] = signature_of(event["hash"], sign)
        self.put(number, event)
        return event

    def drop(self, *numbers):
        for number in numbers:
            del self.files[self.path(number)]

    def flushes(self):
        return sorted(path for path in self.files if "/chains/" in path)

    def edit_flush(self, number, **members):
        path = self.flushes()[number]
        self.files[path] = written(json.loads(self.files[path]) | members)

    def heads(self):
        """The last hash of each chain."""
        named = {event["data"].get("_previous_hash") for event in self.events}
        return [event["hash"] for event in self.events if event["hash"] not in named]

    def manifest(self):
        return {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}


@functools.cache
def _one_chain(events, batch, key):
    logger = Logger({}, batch=batch, key=key)
    for number in range(events):
        logger.log(annotation(number))
    logger.flush()
    return LegacyLog(logger.files, logger.events)


def one_chain(events=12, batch=BATCH, key="log"):
    """One logger, one session; flushes of 5, 5 and 2 events."""
    return _one_chain(events, batch, key).copy()


@functools.cache
def _busy():
    """Two loggers after each other; the first goes through two sessions in one chain."""
    files: dict[str, bytes] = {}
    logger = Logger(files)
    logger.log({"experiment_name": "x", "privacy_budget": {"delta": 1e-05}}, "session_start")
    for number in range(6):
        logger.log(annotation(number), timestamp=1_700_000_000.5)  # all at one time
    logger.session = "session-2"  # the two events in the buffer will be stored there
    logger.log({"steps": 3, "done": True, "loss": 0.25}, "policy_update")
    logger.log({}, "session_end")
    logger.log({"report": {"passed": True, "checks": [{"name": "a"}]}}, "compliance_check")
    logger.flush()
    again = Logger(files, session="session-3", clock=logger.clock - 100)  # a clock that went back
    for number in range(5):
        again.log(annotation(number))
    return LegacyLog(files, logger.events + again.events)


def busy():
    return _busy().copy()


def variants(event) -> Iterator[bytes]:
    """The same event as other tools save it."""
    yield json.dumps(event, indent=2).encode()
    yield json.dumps(event, ensure_ascii=False).encode()
    yield json.dumps(dict(reversed(event.items()))).encode() + b"\n"
