"""The NetworkPolicy of an isolation: made, found again, removed, each at most once.

It carries its incident in a label: an attempt that was killed finds its own, and nobody else's is
touched.
"""

from datetime import datetime
from typing import Any

from tasks.clients import kubernetes_policies as policies
from tasks.clients.errors import Conflict, NotFound
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.clients.kubernetes_refusals import AlreadyThere
from tasks.domain.alertmanager import clean
from tasks.domain.errors import PlanStale
from tasks.domain.isolation import INCIDENT_LABEL, POLICY_NAME, network_policy
from tasks.domain.isolation_plan import CutOff, Isolating
from tasks.work.isolation_site import Fence, Site

_ATTEMPTS = 5

Result = dict[str, Any]


def cut_off(
    site: Site, isolating: Isolating, incident: str, until: datetime, fence: Fence
) -> tuple[str, Result]:
    """Make the NetworkPolicy, or find ours of an attempt before. Raises Conflict for another's."""
    if isolating.network is None:
        raise PlanStale("expected a NetworkPolicy in the plan, found none: make a new one")
    made = make(site, isolating.network, incident, until, fence, dry_run=False)
    metadata = made.get("metadata", {})
    undo = {"delete": f"networkpolicy/{POLICY_NAME}", "uid": str(metadata.get("uid", ""))}
    return f"NetworkPolicy {POLICY_NAME} stands", {"undo": undo, "until": until.isoformat()}


def make(
    site: Site, cut: CutOff, incident: str, until: datetime, fence: Fence, *, dry_run: bool
) -> Result:
    """The policy, made or found; with `dry_run` nothing is kept."""
    body = network_policy(cut.namespace, cut.selected, cut.forensics, incident, until)
    for _ in range(_ATTEMPTS):
        there = policies.policy(Api(site.cluster), POLICY_NAME)
        if there is not None:
            return _ours(there, body, incident)
        fence()
        try:
            return policies.make(Api(site.cluster, Identity.REMEDIATE), body, dry_run=dry_run)
        except AlreadyThere:
            continue  # somebody was faster: whose it is, is looked at
    raise Conflict(f"expected NetworkPolicy {POLICY_NAME} to be there or not, found it changing")


def _ours(there: Result, body: Result, incident: str) -> Result:
    """The policy that there is, if it is this incident's and says what was approved."""
    by = _incident_of(there)
    if by != incident:
        raise Conflict(
            f"expected no NetworkPolicy {POLICY_NAME}, found one of {clean(by or 'nobody', 80)}: "
            "one isolation at a time; take that one back first"
        )
    if there.get("spec") != body["spec"]:
        raise Conflict(
            f"expected NetworkPolicy {POLICY_NAME} as it was approved, found it changed: a person "
            "must look"
        )
    return there


def let_back(site: Site, isolating: Isolating, incident: str, fence: Fence) -> list[str]:
    """Delete this incident's policy, exactly as it was read; what was done, in words."""
    if isolating.network is None:
        return []
    for _ in range(_ATTEMPTS):
        there = policies.policy(Api(site.cluster), POLICY_NAME)
        if there is None:
            return []
        by = _incident_of(there)
        if by != incident:
            return [f"NetworkPolicy {POLICY_NAME} stays: it is of {clean(by or 'nobody', 80)}"]
        fence()
        try:
            policies.remove(Api(site.cluster, Identity.REMEDIATE), there, dry_run=False)
        except (Conflict, NotFound):
            continue  # it was changed or removed meanwhile: look again
        return [f"NetworkPolicy {POLICY_NAME} deleted"]
    raise Conflict(f"expected NetworkPolicy {POLICY_NAME} to hold still, found it changing")


def is_cut(site: Site, incident: str) -> bool:
    """Whether this incident's policy is there now."""
    there = policies.policy(Api(site.cluster), POLICY_NAME)
    return there is not None and _incident_of(there) == incident


def _incident_of(there: Result) -> str:
    metadata = there.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return str(labels.get(INCIDENT_LABEL, "")) if isinstance(labels, dict) else ""
