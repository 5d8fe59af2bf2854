"""Isolating, and taking it back: what there is to isolate, tried without touching, and its effect.

An act may be called again after a kill at any instruction: the policy carries the incident in a
label, a locked role in a setting of its own, and a session that was ended is gone.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tasks.clients.errors import ClientError, Transient
from tasks.domain.alertmanager import clean
from tasks.domain.breach_findings import Suspects
from tasks.domain.errors import BadInput
from tasks.domain.incident import Incident
from tasks.domain.isolation import CAUSE, POLICY_NAME, Decision
from tasks.domain.isolation_plan import CutOff, Isolating, Suspect
from tasks.domain.mending import Effect
from tasks.work import network_isolation, role_isolation
from tasks.work.isolation_site import Fence, Site

_REASON = 200

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What could be isolated, whom it would not lock and why, and what is not possible here."""

    isolating: Isolating
    decisions: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()


def found(site: Site, suspects: Suspects, hold: int) -> Found:
    """What there is to isolate now: the pods, and the roles that are suspected.

    A database that does not answer keeps nobody from cutting the pods off: that is noted.
    """
    notes = []
    network = None
    if site.has_cluster:
        network = CutOff(site.cluster.namespace, site.breach.labels, site.breach.forensics)
    else:
        notes.append("no NetworkPolicy: no cluster is configured; block the traffic by hand")
    roles: tuple[Suspect, ...] = ()
    decisions: tuple[Decision, ...] = ()
    addresses: tuple[str, ...] = ()
    if not site.dsn:
        notes.append("nobody is locked: RUNBOOK_BREACH__ISOLATION_DSN is not set; do it by hand")
    elif suspects.names or suspects.addresses:
        try:
            roles, decisions = role_isolation.suspected(site, suspects)
            addresses = suspects.addresses
        except ClientError as error:
            notes.append(f"nobody is locked: the database does not say who is there: {_cut(error)}")
    isolating = Isolating(site.breach.minutes, hold, network, roles, addresses)
    return Found(isolating, decisions, tuple(notes))


def dry_run(site: Site, isolating: Isolating, incident: str, until: datetime) -> list[str]:
    """What each system would answer now, line by line; everything is taken back at once."""
    lines = []
    cut = isolating.network
    if cut is not None:
        try:
            network_isolation.make(site, cut, incident, until, _nothing, dry_run=True)
        except (ClientError, BadInput) as error:
            lines.append(f"the NetworkPolicy would be refused: {_cut(error)}")
        else:
            lines.append(f"the API server would take the NetworkPolicy {POLICY_NAME}")
    if isolating.roles or isolating.addresses:
        try:
            lines += role_isolation.tried(site, isolating, incident)
        except ClientError as error:
            lines.append(f"the database would refuse: {_cut(error)}")
    return lines


def planned_state(site: Site, incident: Incident) -> Result:
    """What the plan was made against, of what is still so; all of it once a step has begun.

    A database that is away keeps nobody from cutting the pods off: each role is looked at again in
    the transaction that locks it.
    """
    isolating = Isolating.of(incident.plan)
    if incident.begun or not isolating.roles:
        return isolating.observed()
    try:
        return replace(isolating, roles=role_isolation.still_planned(site, isolating)).observed()
    except Transient:
        return isolating.observed()


def take_back(site: Site, isolating: Isolating, incident: str, fence: Fence) -> tuple[str, Result]:
    """Delete our NetworkPolicy and let in whom we have locked; what is gone already is no error.

    Both are tried before an error of either is raised: one system that is away must not keep the
    other closed.
    """
    said: list[str] = []
    errors = []
    for part in (network_isolation.let_back, role_isolation.let_in):
        try:
            said += part(site, isolating, incident, fence)
        except ClientError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    text = "; ".join(said) or "nothing of it was in place any more"
    return text, {"returned": said}


def effect(site: Site, isolating: Isolating, incident: str) -> Effect:
    """Whether everything that was approved is in place, by looking."""
    left: list[str] = []
    try:
        if isolating.network is not None and not network_isolation.is_cut(site, incident):
            left.append("the pods are not cut off")
        if isolating.roles or isolating.addresses:
            left += role_isolation.still_open(site, isolating)
    except ClientError as error:
        return Effect(gone=False, text=f"it cannot be seen: {_cut(error)}", unseen=True)
    if left:
        return Effect(gone=False, text="; ".join(left), causes=(CAUSE,))
    return Effect(gone=True, text="everything that was approved is isolated")


def _nothing() -> None:
    """No fence: a dry run holds no lock."""


def _cut(error: Exception) -> str:
    return clean(str(error), _REASON)
