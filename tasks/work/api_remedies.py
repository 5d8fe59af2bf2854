"""Mending the API: what a remedy would meet, whether its plan still fits, and what it has brought.

The remedies themselves are those of pods' restarts, scaling and rollbacks; here is only which of
them a plan of the API's procedure uses.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tasks.clients.errors import ClientError
from tasks.domain.alertmanager import clean
from tasks.domain.api_diagnosis import diagnose, unexplained
from tasks.domain.api_plan import blind_to, remedy_step, still_noticed
from tasks.domain.api_readings import ApiReadings
from tasks.domain.causes import Cause
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.incident import Incident
from tasks.domain.mending import Effect, effect_on, planned_cause, serious
from tasks.domain.plan import Plan
from tasks.domain.restart_plan import RESTART, restart_in
from tasks.domain.rollback_plan import UNDO, read_planned
from tasks.domain.scale_plan import SCALE_API, ScaleChange
from tasks.work import pod_restarts, rollbacks, scalings
from tasks.work.api_looks import Site, looked_at

_LOOK_AGAIN_SECONDS = 0.5
_REASON_LIMIT = 300


def restarts_of(site: Site) -> pod_restarts.Site:
    """Where pods are restarted."""
    return pod_restarts.Site(site.settings.kubernetes, site.care.ready_seconds)


def looked(site: Site, incident: Incident, onset: datetime | None, *, after: bool) -> ApiReadings:
    """A look for an incident; `after` a remedy rates are taken over a short time only."""
    window = site.care.verify_window_seconds if after else None
    own = incident.plan_hash if after else ""  # of the same incident earlier plans count as well
    lately = pod_restarts.attempts_lately(site.target, own, datetime.now(UTC))
    return looked_at(site, onset, window=window, restarts=lately)


def tried(site: Site, plan: Plan) -> list[str]:
    """What the API servers say to the plan's change without making it, line by line."""
    try:
        return _tried(site, plan)
    except (ClientError, BadInput) as error:
        return [f"could not be tried: {clean(str(error), _REASON_LIMIT)}"]


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if it still fits; raises PlanStale, or says what is there."""
    match remedy_step(incident.plan):
        case step if step == RESTART:
            return pod_restarts.planned_state(restarts_of(site), incident)
        case step if step == SCALE_API:
            return scalings.planned_state(scalings.site_of(site.settings), incident)
        case step if step == UNDO:
            return rollbacks.planned_state(rollbacks.site_of(site.settings), incident)
    raise PlanStale("expected an approved plan about the API, found none: make a new one")


def effect(site: Site, incident: Incident, onset: datetime | None) -> Effect:
    """The same look and the same diagnosis until the planned cause is gone, or the time is over."""
    plan, code = incident.plan, planned_cause(incident.plan)
    began = time.monotonic()
    until, settled_at = began + site.care.verify_seconds, began + site.care.verify_window_seconds
    while True:
        seen = looked(site, incident, onset, after=True)
        found = effect_on(code, _left(site, seen, code), blind_to(plan, seen))
        noticed = still_noticed(plan, seen, site.limits)
        if found.gone and noticed:
            found = Effect(gone=False, text=f"{code} is not gone: {noticed}", causes=found.causes)
        # rates still speak of the time before the remedy for a while
        is_calm = not seen.is_troubled(site.limits) or time.monotonic() >= settled_at
        if (found.gone and is_calm) or time.monotonic() >= until:
            return found
        time.sleep(_LOOK_AGAIN_SECONDS)


def settled(site: Site, incident: Incident, onset: datetime | None) -> ApiReadings:
    """A look once the rates speak of the time after a remedy only, or as soon as all is well."""
    until = time.monotonic() + min(site.care.verify_window_seconds, site.care.verify_seconds)
    while True:
        seen = looked(site, incident, onset, after=True)
        causes = diagnose(seen, site.limits)
        is_well = not serious(causes) and not unexplained(seen, causes, site.limits)
        if is_well or time.monotonic() >= until:
            return seen
        time.sleep(_LOOK_AGAIN_SECONDS)


def _left(site: Site, seen: ApiReadings, code: str) -> Sequence[Cause]:
    """What is serious, and the planned cause even where something else explains it by now."""
    causes = diagnose(seen, site.limits)
    return (*serious(causes), *(each for each in causes if each.code == code))


def _tried(site: Site, plan: Plan) -> list[str]:
    match remedy_step(plan):
        case step if step == RESTART:
            return pod_restarts.would_be_taken(restarts_of(site), restart_in(plan))
        case step if step == SCALE_API:
            change = ScaleChange.of(plan)
            why = scalings.would_be_taken(scalings.site_of(site.settings), change)
            return [
                *(f"bound: {each}" for each in plan.observed.get("bounds", ())),
                *(f"unknown: {each}" for each in plan.observed.get("unknown_bounds", ())),
                f"the API server would refuse it: {why}" if why else "the API server would take it",
            ]
        case step if step == UNDO:
            site_of = rollbacks.site_of(site.settings)
            changes = [f"template: {each}" for each in plan.observed.get("changes", ())]
            return [*rollbacks.dry_run(site_of, read_planned(plan.observed)), *changes]
    return []
