"""What people and programs read: incidents, plans, reports, health."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from deployments.gateway.answers import refusal
from deployments.gateway.decisions import IncidentId, unknown_incident
from deployments.gateway.group_commit import GroupCommit
from deployments.gateway.pages.known import CANNOT_BE_READ, KNOWN, Unreadable
from deployments.gateway.people import Reader
from tasks.clients.errors import Transient
from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.report_seal import version_name
from tasks.settings import settings
from tasks.work import incidents, journal, quarantine, responder, work_progress

router = APIRouter()

_LIST_LIMIT = 50
_MEDIA = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "json": "application/json",
    "seal": "text/plain; charset=utf-8",
}
_REPORT_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, max-age=3600",
}
Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
After = Annotated[int, Query(ge=-1, lt=1 << 63)]
Suffix = Annotated[str, Path(pattern=r"^(html|pdf|json|seal)$")]


@router.get("/incidents")
def list_incidents(_: Reader) -> dict[str, Any]:
    """The newest incidents, those that cannot be read among them, and what is in quarantine."""
    found = KNOWN.read(journal.all_incidents(_LIST_LIMIT))
    count, newest = quarantine.newest()
    return {
        "incidents": [
            _summary_of_unreadable(one) if isinstance(one, Unreadable) else _summary(one)
            for one in found
        ],
        "problems": [one.problem for one in found if isinstance(one, Unreadable)],
        "quarantine": {"count": count, "newest": newest},
    }


@router.get("/incidents/{incident}", response_model=None)
def show_incident(
    incident: IncidentId, _: Reader, after: After = -1
) -> dict[str, Any] | JSONResponse:
    """State and facts of one incident; of the facts those with a larger number than `after`."""
    state = journal.read(incident)
    if not state.facts:
        return unknown_incident(incident)
    return _summary(state) | {
        "severity_reason": state.severity_reason,
        "checks": state.checks,
        "diagnosis": state.diagnosis,
        "holds": state.holds,
        "clocks": state.clocks,
        "clocks_stopped": sorted(state.clocks_stopped),
        "plan": _plan(state),
        "proof": state.proof,
        "report": state.report,
        "progress": _progress(incident),
        "responding": _is_responding(incident),
        "facts": [_fact(fact) for fact in state.facts if fact.seq > after],
    }


@router.get("/incidents/{incident}/plan", response_model=None)
def show_plan(incident: IncidentId, _: Reader) -> dict[str, Any] | JSONResponse:
    """The standing plan with its hash: exactly what an approval says yes to."""
    state = journal.read(incident)
    if not state.facts:
        return unknown_incident(incident)
    plan = _plan(state)
    if plan is None:
        return refusal(404, "no plan", "a plan", "none yet", f"read /incidents/{incident}")
    return plan


@router.get("/reports/{incident}/{sha256}.{suffix}")
def show_report(incident: IncidentId, sha256: Sha256, suffix: Suffix) -> Response:
    """A report, by its content's hash: who knows the hash may read it, and it is what it was."""
    path = _reported_path(incident, suffix, sha256)
    if path is None:
        return refusal(404, "no such report", "a journaled report", sha256, "read /incidents")
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        return refusal(409, "report altered or gone", sha256, found, f"runbook report {incident}")
    return Response(content, media_type=_MEDIA[suffix], headers=_REPORT_HEADERS)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers. In the event loop itself: busy threads are no reason to be restarted."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    """200 while an alert would be stored now, in our database or the spool; else 503.

    So alerts are sent here though Prefect is away or no child is warm yet. Whether a run would
    start at once is `complete`, and what it lacks is in `ready`.
    """
    parts = request.app.state
    dispatcher, ticker = parts.dispatcher, parts.ticker
    children = dispatcher.warm_children if dispatcher is not None else 0
    ready = {
        "database": _database_answers(),
        "children": children > 0,
        "dispatcher": dispatcher is not None and dispatcher.is_alive,
        "prefect": dispatcher is not None and dispatcher.prefect_answers,
        "ticker": ticker is not None and ticker.is_alive,
    }
    storing: GroupCommit = parts.group_commit
    takes = storing.is_alive and (ready["database"] or storing.has_room)
    said = {
        "takes_alerts": takes,
        "complete": all(ready.values()),
        "ready": ready,
        "warm_children": children,
        "reconciliation": "not configured" if parts.reconciler is None else "configured",
    }
    status = HTTPStatus.OK if takes else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(said, status_code=status)


def _database_answers() -> bool:
    try:
        with responder.connection() as connection:
            return connection.execute("SELECT 1").fetchone() is not None
    except Transient:
        return False


def _reported_path(incident: str, suffix: str, sha256: str) -> FilePath | None:
    """The file of a REPORTED fact, if it lies in the directory of reports."""
    directory = settings().responder.reports.resolve()
    for fact in journal.read(incident).facts:
        reported = fact.data.get(suffix) if fact.kind is FactKind.REPORTED else None
        if not isinstance(reported, Mapping) or reported.get("sha256") != sha256:
            continue
        named = FilePath(str(reported.get("path", "")))
        kept = directory / incident / version_name(sha256, suffix)
        for path in (kept, directory / named, named):
            if path.resolve().is_relative_to(directory) and path.is_file():
                return path
    return None


def _summary(state: Incident) -> dict[str, Any]:
    seen = acknowledged_at(state)
    return {
        "id": state.id,
        "title": state.title,
        "component": state.component,
        "procedure": state.procedure,
        "stage": state.stage.value,
        "severity": state.severity.value if state.severity else None,
        "opened_at": state.opened_at.isoformat() if state.opened_at else None,
        "opened_by": state.opened_by,
        "target": str(state.target) if state.target else None,
        "acknowledged_at": seen.isoformat() if seen else None,
        "mitigated_at": state.mitigated_at.isoformat() if state.mitigated_at else None,
        "closed_at": state.closed_at.isoformat() if state.closed_at else None,
        "outcome": state.outcome,
        "alerts": len(state.alerts),
        "plan_hash": state.plan_hash or None,
    }


def _summary_of_unreadable(found: Unreadable) -> dict[str, Any]:
    """In the shape of the others, so that a list can be shown."""
    return _summary(Incident(found.id)) | {"title": CANNOT_BE_READ, "stage": "unreadable"}


def _plan(state: Incident) -> dict[str, Any] | None:
    if state.plan is None:
        return None
    decisions = [
        {"decision": made.decision, "by": made.by, "at": made.at.isoformat(), "reason": made.reason}
        for made in state.decisions_on_plan()
    ]
    return {"hash": state.plan_hash, "plan": state.plan.as_json(), "decisions": decisions}


def _progress(incident: str) -> dict[str, Any] | None:
    said = work_progress.read(incident)
    return said.as_json() if said else None


def _is_responding(incident: str) -> bool:
    """Whether a run of the response is ordered or at work."""
    with responder.connection() as connection:
        return incidents.response_is_ordered(connection, incident)


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "seq": fact.seq,
        "at": fact.at.isoformat(),
        "kind": fact.kind.value,
        "actor": fact.actor,
        "data": dict(fact.data),
    }
