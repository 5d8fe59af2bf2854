"""ISOLATE: what may be cut off in a suspected breach, how, and how it comes back.

Runbook: Suspected Breach / Immediate Actions, line 3. It comes after PRESERVE and after a person's
approval. A forged alert must not turn it against the house: whoever keeps the database alive, us
included, is never locked out, and what is locked comes back when nobody confirms it in time.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

CAUSE = "suspected-breach"
"""Code of the cause for which a breach's scope is held, and for which we isolate."""

NETWORK = "breach.isolate.network"
ACCOUNTS = "breach.isolate.accounts"
SESSIONS = "breach.isolate.sessions"
RETURN = "breach.isolate.return"

POLICY_NAME = "runbook-isolation"
"""Of the NetworkPolicy: one a namespace, so that a second isolation finds the first."""

INCIDENT_LABEL = "runbook.rlhf-audit-trail/incident"
EXPIRES_ANNOTATION = "runbook.rlhf-audit-trail/expires-at"

UNLESS_CONFIRMED = timedelta(hours=4)
"""How long an isolation stands that nobody confirms."""


class Lock(StrEnum):
    """Whether an account may be locked."""

    ALLOWED = "allowed"
    TWO_PEOPLE = "with the approval of two people"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Account:
    """A role of PostgreSQL as `pg_roles` has it. `replicates`: it may, or a session of it does."""

    name: str
    superuser: bool
    replicates: bool
    can_login: bool


@dataclass(frozen=True, slots=True)
class Spared:
    """Who is never locked: our own roles and the break-glass account; the API's needs two."""

    ours: frozenset[str]
    break_glass: frozenset[str]
    api: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether this account may be locked, and why not or on what terms."""

    account: str
    lock: Lock
    reason: str


def may_lock(name: str, accounts: Iterable[Account], spared: Spared) -> Decision:
    """Decide about one suspected account, of those that there are now."""
    there = {account.name: account for account in accounts}
    account = there.get(name)
    if account is None:
        return Decision(name, Lock.REFUSED, "there is no such role")
    others = {each.name for each in there.values() if each.superuser and each.can_login} - {name}
    refusals = (
        (name in spared.ours, "it is a role of the responder, which would lock itself out"),
        (name in spared.break_glass, "it is the break-glass account"),
        (name.startswith("pg_"), "it is a role of PostgreSQL itself"),
        (account.replicates, "replication runs under it"),
        (account.superuser and not others, "it is the last superuser that can log in"),
        (not account.can_login, "it cannot log in as it is"),
    )
    for applies, reason in refusals:
        if applies:
            return Decision(name, Lock.REFUSED, reason)
    if name in spared.api:
        reason = "the API logs in as it: to lock it stops the service"
        return Decision(name, Lock.TWO_PEOPLE, reason)
    return Decision(name, Lock.ALLOWED, "")


def decide(
    suspects: Iterable[str], accounts: Collection[Account], spared: Spared
) -> tuple[Decision, ...]:
    """Decide about all suspects at once: together they may be the last superusers."""
    left = list(accounts)
    decisions = []
    for name in dict.fromkeys(suspects):
        decision = may_lock(name, left, spared)
        decisions.append(decision)
        if decision.lock is not Lock.REFUSED:
            left = [
                Account(each.name, each.superuser, each.replicates, can_login=False)
                if each.name == name
                else each
                for each in left
            ]
    return tuple(decisions)


def approvers_for(decisions: Iterable[Decision]) -> int:
    """How many people must approve these locks."""
    return 2 if any(each.lock is Lock.TWO_PEOPLE for each in decisions) else 1


def network_policy(
    namespace: str,
    selected: Mapping[str, str],
    forensics: Mapping[str, str],
    incident: str,
    expires_at: datetime,
) -> dict[str, Any]:
    """A NetworkPolicy (networking.k8s.io/v1) that cuts the selected pods off in both directions.

    Only pods with the labels `forensics`, in the same namespace, may still reach them and be
    reached: who examines must get in. Name resolution is cut too, since data leaves by it.
    Policies add up: what another policy of the namespace allows these pods stays allowed.
    """
    allowed = [{"podSelector": {"matchLabels": dict(forensics)}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": POLICY_NAME,
            "namespace": namespace,
            "labels": {INCIDENT_LABEL: incident},
            "annotations": {EXPIRES_ANNOTATION: expires_at.isoformat()},
        },
        "spec": {
            "podSelector": {"matchLabels": dict(selected)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": allowed}],
            "egress": [{"to": allowed}],
        },
    }
