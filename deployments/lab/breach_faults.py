"""Faults of people: who gets in, who carries data away, and who rewrites what has happened."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime

import httpx

from deployments.lab.damage import Damage
from deployments.lab.dataset import CANARY_EMAIL, CANARY_PROMPT, CANARY_TOKEN
from deployments.lab.errors import LabError
from deployments.lab.kubernetes.manifests import API
from deployments.lab.parts import Parts
from deployments.lab.session_faults import misbehaving
from deployments.lab.table_faults import tampered_records

ATTACKER = "203.0.113.77"
"""An address that belongs to nobody (RFC 5737): what the ingress says of the intruder."""

EXTRACTOR = "198.51.100.23"

_CAUSE = "suspected-breach"
_TRIED = 40
_READS = 3
_DENIALS = 6
_ANSWER_SECONDS = 20.0


def credential_stuffing(lab: Parts) -> Damage:
    """Somebody tries forty accounts from one address, and is let in with a token in the end."""
    names = frozenset(f"{secrets.token_hex(4)}.{number}" for number in range(_TRIED))
    _spill(lab)
    with _client(lab, ATTACKER) as client:
        for name in sorted(names):
            answer = client.get("/api/v1/audit/records", auth=(name, secrets.token_hex(8)))
            _require(answer, httpx.codes.UNAUTHORIZED)
        stolen = {"Authorization": f"Bearer {lab.api.token}"}
        for _ in range(_READS):
            _require(client.get("/api/v1/audit/records?limit=500", headers=stolen), httpx.codes.OK)
    return Damage(
        f"{_TRIED} accounts tried from {ATTACKER}, which was then let in with a stolen token",
        cause=_CAUSE,
        address=ATTACKER,
        names=names,
    )


def data_exfiltration(lab: Parts) -> Damage:
    """An analyst's account, refused again and again by the API, copies the whole audit trail."""
    _spill(lab)
    _deny(lab, "analyst", EXTRACTOR)
    culprits, _ = misbehaving(lab, "exfiltration", "analyst")
    return Damage(
        "a session of the role analyst copies the audit trail again and again",
        cause=_CAUSE,
        culprits=culprits,
        account="analyst",
        address=EXTRACTOR,
    )


def insider_tampering(lab: Parts) -> Damage:
    """Somebody of the house, refused by the API, rewrites records with borrowed rights."""
    _deny(lab, "dba", EXTRACTOR)
    culprits, _ = misbehaving(lab, "exfiltration", "dba")
    done = tampered_records(lab)
    return replace(
        done,
        said=f"{done.said} by whoever uses the role dba",
        cause=_CAUSE,
        culprits=culprits,
        account="dba",
        address=EXTRACTOR,
    )


def evidence_store_down(lab: Parts) -> Damage:
    """An intruder is let in while the object store, where evidence would be sealed, is down."""
    done = credential_stuffing(lab)
    lab.objects.stop()
    return replace(done, said=f"{done.said}; the object store is down")


def _spill(lab: Parts) -> None:
    """A careless component writes into its log what belongs to people alone."""
    cluster = lab.cluster_life.cluster
    pod = cluster.pods(API)[0]["metadata"]["name"]
    cluster.log(
        pod,
        f'ERROR annotation refused, prompt: "{CANARY_PROMPT}"',
        f"WARN upload by {CANARY_EMAIL} was slow",
        f"WARN no such export: /exports/{CANARY_TOKEN}",
    )


def _deny(lab: Parts, account: str, address: str) -> None:
    """What the audit trail itself says of an account: attempts that were denied."""
    now = datetime.now(UTC).isoformat()
    events = [
        {
            "event_id": secrets.token_hex(16),
            "event_type": "access_attempt",
            "session_id": f"session-{secrets.token_hex(8)}",
            "timestamp": now,
            "data": {
                "outcome": "denied",
                "resource": "exports",
                "user": account,
                "address": address,
            },
        }
        for _ in range(_DENIALS)
    ]
    with _client(lab, address) as client:
        known = {"Authorization": f"Bearer {lab.api.token}"}
        _require(
            client.post("/api/v1/audit/records", json={"events": events}, headers=known),
            httpx.codes.OK,
        )


def _client(lab: Parts, address: str) -> httpx.Client:
    """Whose requests come, so the ingress says, from that address."""
    return httpx.Client(
        base_url=lab.api.url,
        headers={"X-Forwarded-For": address},
        timeout=_ANSWER_SECONDS,
        trust_env=False,
    )


def _require(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise LabError(f"expected the API to answer {status}, found {answer.status_code}")
