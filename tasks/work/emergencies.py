"""Stopping and starting the parts of the system in order, each after the former.

Each act may be called again after a kill at any instruction: what is at zero was stopped already,
what has replicas was started already, and what it had stands in the plan and in the journal.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.clients import cache_state, postgres
from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError, Conflict, NotFound
from tasks.domain.alertmanager import clean
from tasks.domain.change_wish import Wanted
from tasks.domain.emergency_plan import Emergency, Part, Stopped, order
from tasks.domain.errors import BadInput, NotProven, PlanStale
from tasks.domain.incident import Incident
from tasks.domain.mending import Effect
from tasks.domain.workloads import Kind
from tasks.sections.capacity import EmergencySettings
from tasks.sections.systems import CacheSettings, DatabaseSettings
from tasks.settings import Settings
from tasks.work import scalings, shut_downs
from tasks.work.scalings import Site, Workload

_ATTEMPTS = 5
_POLL_SECONDS = 0.2
_REASON_LIMIT = 200
_WRITERS = "SELECT count(*) FROM pg_stat_activity WHERE usename = ANY(%s)"
_NEWEST = "SELECT max(seq) FROM public.audit_records"

Fence = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Grounds:
    """The cluster, the parts, the database whose writes must have ended, and what Redis holds."""

    site: Site
    parts: EmergencySettings
    database: DatabaseSettings = field(repr=False)
    cache: CacheSettings = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """The parts that can be stopped or started now; `notes` says what is odd, or left out."""

    emergency: Emergency
    notes: tuple[str, ...] = ()


def grounds_of(settings: Settings) -> Grounds:
    """From the settings."""
    site = scalings.site_of(settings)
    return Grounds(site, settings.emergency, settings.database, settings.cache)


def found(where: Grounds, wanted: Wanted) -> Found:
    """What there is to stop, or what was stopped by us and is to be started."""
    return _to_start(where) if wanted is Wanted.START else _to_stop(where)


def _to_stop(where: Grounds) -> Found:
    parts, notes = [], []
    for part, (kind, name) in _named(where).items():
        try:
            workload = scalings.workload_of(where.site.reader(), kind, name)
        except NotFound:
            notes.append(f"left out: {kind} {name} is not there: {part} is not stopped by us")
            continue
        if workload.replicas:
            parts.append(Stopped(part, kind, name, workload.uid, workload.replicas))
        else:
            notes.append(f"left out: {kind} {name} has no replicas: {part} is stopped already")
    ordered = order(parts, Wanted.SHUT_DOWN)
    return Found(Emergency(Wanted.SHUT_DOWN, ordered), tuple(notes))


def _to_start(where: Grounds) -> Found:
    """What the journal says, by the names: a workload may have been made anew since.

    What has replicas already stays among the parts: its start changes nothing, waits until it is
    ready, and puts on record that it stands still no more.
    """
    parts, notes = [], []
    for each in shut_downs.standing():
        part = each.stopped
        try:
            now = scalings.workload_of(where.site.reader(), part.kind, part.name)
        except NotFound:
            notes.append(f"{part.target} is not there: make it anew, else the start ends before it")
            parts.append(part)
            continue
        if now.uid != part.uid:
            notes.append(f"{part.target} was made anew since the stop: the new one is started")
        if now.replicas:
            notes.append(f"{part.target} has {now.replicas} replicas already: they are left")
        parts.append(replace(part, uid=now.uid))
    return Found(Emergency(Wanted.START, tuple(parts)), tuple(notes))


def at_stake(where: Grounds, emergency: Emergency) -> str:
    """What Redis holds now that its stop would lose, in words; empty when it is not stopped."""
    is_stop = emergency.wanted is Wanted.SHUT_DOWN
    if not is_stop or all(each.part is not Part.CACHE for each in emergency.parts):
        return ""
    try:
        state, queued = cache_state.read_state(where.cache, where.site.scaling.queues)
    except (ClientError, BadInput) as error:
        return clean(f"unknown, Redis does not say: {error}", _REASON_LIMIT)
    tasks = f"{sum(queued.values()):,} tasks queued"
    if not state.persists:
        return f"{tasks}, and nothing of its {state.keys:,} keys is saved"
    return f"{tasks}, {state.changes:,} changes unsaved"


def dry_run(where: Grounds, found: Found, stake: str = "") -> list[str]:
    """What the API server says to each step without making it; `stake` is what Redis holds."""
    emergency, lines = found.emergency, list(found.notes)
    lines += [f"Redis now: {stake}"] if stake else []
    for step, part in emergency.steps.items():
        replicas = 0 if emergency.wanted is Wanted.SHUT_DOWN else part.replicas
        try:
            _set(where, part, replicas, lambda: None, dry=True)
        except (ClientError, BadInput, PlanStale) as error:
            lines.append(f"{step} would be refused: {clean(str(error), _REASON_LIMIT)}")
        else:
            lines.append(f"{step}: the API server would take {part.target} to {replicas}")
    return lines


def planned_state(where: Grounds, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if its workloads are still the same ones.

    An autoscaler may change how many replicas there are: what counts is recorded at the stop.
    """
    plan = incident.plan
    if plan is not None and incident.begun:
        return dict(plan.observed)
    planned = Emergency.of(plan)
    now = found(where, planned.wanted).emergency
    there = {each.uid: each for each in now.parts}
    kept = tuple(
        replace(there[each.uid], replicas=each.replicas)
        for each in planned.parts
        if each.uid in there
    )
    return Emergency(planned.wanted, kept).observed()


def stop(where: Grounds, part: Stopped, fence: Fence) -> tuple[str, dict[str, Any]]:
    """To no replicas; until its pods are gone and, of the API, its writes have ended."""
    had = _set(where, part, 0, fence, dry=False) or part.replicas
    _until(where, lambda: _pods_of(where, part), f"the pods of {part.target} to be gone")
    result: dict[str, Any] = {"stopped": replace(part, replicas=had).as_json()}
    text = f"{part.target} is stopped; it had {had} replicas"
    if part.part is Part.API:
        newest, said = _writes_ended(where)
        result["newest_record"] = newest
        text = f"{text}; {said}"
    return text, result


def start(where: Grounds, part: Stopped, fence: Fence) -> tuple[str, dict[str, Any]]:
    """To the replicas that it had, unless somebody has started it already; until they are ready."""
    had = _set(where, part, part.replicas, fence, dry=False)
    wanted = had or part.replicas
    _until(where, lambda: wanted - _workload(where, part).ready, f"{part.target} to be ready")
    text = f"{part.target} has {wanted} replicas ready"
    if had and had != part.replicas:
        text += f"; somebody had started it with {had} instead of {part.replicas}"
    if part.part is Part.DATABASE:
        text = f"{text}; {_nothing_lost(where)}"
    return text, {"replicas": wanted}


def effect(where: Grounds, emergency: Emergency) -> Effect:
    """Whether all that was planned is so now."""
    is_stop = emergency.wanted is Wanted.SHUT_DOWN
    wrong = [
        each.target for each in emergency.parts if bool(_workload(where, each).replicas) is is_stop
    ]
    if wrong:
        return Effect(gone=False, text=f"not as planned: {', '.join(wrong)}")
    names = ", ".join(each.part.value for each in emergency.steps.values())
    return Effect(gone=True, text=f"{'stopped' if is_stop else 'started'}: {names}")


def _named(where: Grounds) -> dict[Part, tuple[Kind, str]]:
    scaling, parts = where.site.scaling, where.parts
    return {
        Part.WORKERS: (Kind.DEPLOYMENT, scaling.workers),
        Part.API: (Kind.DEPLOYMENT, scaling.api),
        Part.PRIVACY_ENGINE: (Kind.DEPLOYMENT, parts.privacy_engine),
        Part.CACHE: (Kind.STATEFUL_SET, parts.cache),
        Part.DATABASE: (Kind.STATEFUL_SET, parts.database),
    }


def _workload(where: Grounds, part: Stopped) -> Workload:
    found = scalings.workload_of(where.site.reader(), part.kind, part.name)
    if found.uid != part.uid:
        raise PlanStale(f"{part.target} was deleted and made anew: make a new plan")
    return found


def _set(where: Grounds, part: Stopped, replicas: int, fence: Fence, *, dry: bool) -> int:
    """Between none and some; the replicas that it has had before. What it has already is left."""
    for attempt in range(_ATTEMPTS):
        now = _workload(where, part)
        if bool(now.replicas) is bool(replicas):
            return now.replicas
        fence()
        mender, version = where.site.mender(), now.resource_version
        try:
            workloads.set_replicas(mender, part.kind, part.name, replicas, version, dry_run=dry)
        except Conflict:  # a controller wrote its status in between
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return now.replicas
    raise AssertionError


def _pods_of(where: Grounds, part: Stopped) -> int:
    """Those on their way out too: they still write. Not those that no controller has made."""
    pods = cluster_pods.pods(where.site.reader(), _workload(where, part).selector)
    return sum(each.controller is not None for each in pods)


def _until(where: Grounds, left: Callable[[], int], what: str) -> None:
    """Raises NotProven when it does not come: the next part must not be touched then."""
    until = time.monotonic() + where.parts.part_seconds
    while (still := left()) > 0:
        if time.monotonic() >= until:
            raise NotProven(
                f"expected {what} within {where.parts.part_seconds:g} s, found {still} left: the "
                "parts after it are left alone; a person must look"
            )
        time.sleep(_POLL_SECONDS)


def _writes_ended(where: Grounds) -> tuple[int | None, str]:
    """The newest record once no writer is connected; a database whose pods are gone has none.

    Raises NotProven when writers stay, or when the database runs and does not say.
    """
    until = time.monotonic() + where.parts.part_seconds
    while True:
        try:
            connected = _asked(where, _WRITERS, [*where.database.writers])
            if connected == 0:
                newest = _asked(where, _NEWEST)
                return newest, f"no writer is connected, the newest record is {newest}"
            still = f"{connected} connected"
        except ClientError as error:
            still = clean(str(error), _REASON_LIMIT)
            if _is_database_down(where):
                return None, f"no pod of the database runs, so no writer is connected: {still}"
        if time.monotonic() >= until:
            raise NotProven(
                f"expected no writer at the database within {where.parts.part_seconds:g} s, found "
                f"{still}: the parts after the API are left alone; a person must look"
            )
        time.sleep(_POLL_SECONDS)


def _is_database_down(where: Grounds) -> bool:
    """Whether its workload is there and none of its pods runs; what cannot be seen is not down."""
    kind, name = _named(where)[Part.DATABASE]
    try:
        reader = where.site.reader()
        pods = cluster_pods.pods(reader, scalings.workload_of(reader, kind, name).selector)
    except ClientError:
        return False
    return not any(each.phase == "Running" for each in pods)


def _nothing_lost(where: Grounds) -> str:
    """Raises NotProven when a record is missing that was there at the stop of the API."""
    api = next((each for each in shut_downs.standing() if each.stopped.part is Part.API), None)
    before = None if api is None else api.newest_record
    now = _asked(where, _NEWEST)
    if before is None:
        return f"the newest record is {now}; what it was at the stop is not known"
    if now is None or now < before:
        raise NotProven(
            f"expected record {before}, which was there at the stop, found {now} as the newest: "
            "the parts after the database are left stopped; verify the audit trail"
        )
    return f"the newest record is {now}, not before record {before}, the newest at the stop"


def _asked(where: Grounds, statement: str, *values: object) -> int | None:
    database = where.database
    with postgres.connect(
        database.reader_dsn.get_secret_value(),
        timeout_seconds=database.timeout_seconds,
        statement_seconds=database.timeout_seconds,
    ) as connection:
        row = connection.execute(statement, values).fetchone()
    return row[0] if row else None
