"""Mending what sessions of the database do: look, signal through the door, look again.

An act may be called again after a kill at any instruction: a session that was signalled already is
gone, or does no longer what it was to be ended for, and gets no second signal.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import database_signals, postgres
from tasks.clients.database_activity import Look, read_activity
from tasks.clients.database_session_sql import Protection
from tasks.clients.pod_exec import Pod
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import diagnose
from tasks.domain.database_limits import GIB, Limits
from tasks.domain.database_plan import (
    counted,
    fits,
    is_about_sessions,
    planned_claim,
    planned_instance,
    planned_sessions,
)
from tasks.domain.database_readings import DatabaseReadings
from tasks.domain.errors import BadInput
from tasks.domain.incident import Incident
from tasks.domain.mending import serious
from tasks.domain.plan import Plan
from tasks.domain.session_remedies import CANCEL
from tasks.domain.signals import Answer, SessionKey, Verdict, Why
from tasks.domain.storage_plan import StoragePolicy
from tasks.settings import Settings
from tasks.work import stateful_restart, storage_growth
from tasks.work.database_surroundings import Surroundings, inside_says, look_around

_POLL_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 0.5
_END_SECONDS = 10.0
_HOUR = 3600.0

Fence = Callable[[], None]
Answers = list[tuple[SessionKey, Answer]]


@dataclass(frozen=True, slots=True)
class Site:
    """The server, whom we ask and whom we spare. `dsn` may signal others' backends."""

    dsn: str = field(repr=False)
    look: Look = field(repr=False)
    limits: Limits
    target: str
    cancel_seconds: float = 3.0
    verify_seconds: float = 10.0
    around: Surroundings | None = None
    grow_seconds: float = 120.0
    restart_seconds: float = 120.0

    @property
    def protection(self) -> Protection:
        """Whom nobody may signal."""
        return self.look.protection


def site_of(settings: Settings, target: str) -> Site:
    """The site, from the settings; the roles of our own logins are protected."""
    database, care, storage = settings.database, settings.database_care, settings.storage_care
    reader = database.reader_dsn.get_secret_value()
    recovery = database.recovery_dsn.get_secret_value()
    ours = (postgres.role_in(dsn) for dsn in (reader, recovery))
    return Site(
        dsn=recovery,
        look=Look(
            reader_dsn=reader,
            reserved_dsn=postgres.dsn_of(recovery, database.name),
            timeout_seconds=database.timeout_seconds,
            protection=Protection((*care.protected_roles, *filter(None, ours))),
        ),
        limits=Limits(
            lock_wait_seconds=care.lock_wait_seconds,
            slow_query_seconds=care.slow_query_seconds,
            idle_in_transaction_seconds=care.idle_in_transaction_seconds,
            idle_seconds=care.idle_seconds,
            relief_share=care.relief_share,
            relief_at_most=care.relief_at_most,
            full_share=storage.full_share,
            full_within_seconds=storage.full_within_hours * _HOUR,
        ),
        target=target,
        cancel_seconds=care.cancel_seconds,
        verify_seconds=care.verify_seconds,
        around=_around(settings) if database.pod else None,
        grow_seconds=storage.grow_seconds,
        restart_seconds=care.restart_seconds,
    )


def _around(settings: Settings) -> Surroundings:
    database, storage = settings.database, settings.storage_care
    return Surroundings(
        cluster=settings.kubernetes,
        metrics=settings.metrics,
        pod=Pod.parse(database.pod),
        backups=database.pod_directory,
        policy=StoragePolicy(
            factor=storage.factor,
            step=round(storage.step_gib * GIB),
            most=round(storage.most_gib * GIB),
            within_seconds=storage.full_within_hours * _HOUR,
        ),
    )


def looked_at(site: Site) -> DatabaseReadings:
    """Everything that can be read of the server now, from outside and around its pod."""
    if site.around is None:
        return read_activity(site.look)
    with ThreadPoolExecutor(1) as beside:  # a server that hangs costs one time-out, not two
        inside = beside.submit(inside_says, site.around)
        seen = replace(read_activity(site.look), inside=inside.result())
    return look_around(site.around, seen, site.limits)


def would_answer(site: Site, keys: Sequence[SessionKey], why: Why) -> Answers:
    """What each session's signal would be answered now; nothing is signalled."""
    with _connected(site) as connection:
        return [(key, database_signals.look(connection, key, why, site.protection)) for key in keys]


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if a session that it names is still what it was.

    Else what became of them: then the plan no longer fits. Once a step has begun it is finished: a
    run that died has changed what it found, and each signal looks for itself.
    """
    plan = incident.plan
    if plan is not None and incident.begun:
        return dict(plan.observed)
    if not is_about_sessions(plan):
        return fits(plan, diagnose(looked_at(site), site.target, site.limits))
    why, keys = planned_sessions(plan)
    answers = would_answer(site, keys, why)
    if plan is not None and _signalled(answers):
        return dict(plan.observed)
    return {"sessions": [answer.verdict.value for _, answer in answers]}


def carried_out(
    site: Site, plan: Plan | None, step: str, fence: Fence
) -> tuple[str, dict[str, Any]]:
    """Do one step of the plan to the sessions that it names."""
    why, keys = planned_sessions(plan)
    act = cancel if step == CANCEL else terminate
    return act(site, keys, why, fence)


def enlarge_storage(site: Site, plan: Plan | None, fence: Fence) -> tuple[str, dict[str, Any]]:
    """Give the planned claim more room, and watch it grow."""
    around, key = _pod_of(site), planned_claim(plan)
    return storage_growth.enlarge(around.cluster, around.pod, key, fence, site.grow_seconds)


def restart(site: Site, plan: Plan | None, fence: Fence) -> tuple[str, dict[str, Any]]:
    """End the planned pod, and wait for its successor."""
    around, key = _pod_of(site), planned_instance(plan)
    return stateful_restart.restart(around.cluster, around.pod, key, fence, site.restart_seconds)


def _pod_of(site: Site) -> Surroundings:
    if site.around is None:
        raise BadInput("expected the database's pod, found none: set RUNBOOK_DATABASE__POD")
    return site.around


def cancel(
    site: Site, keys: Sequence[SessionKey], why: Why, fence: Fence
) -> tuple[str, dict[str, Any]]:
    """Cancel what these sessions run, and give it the time to end."""
    answers = _signal(site, keys, why, fence, database_signals.cancel)
    left = _wait(site, _signalled(answers), why, site.cancel_seconds)
    result = counted(answers) | {"going_on": len(left)}
    idle = sum(answer.verdict is Verdict.NOTHING_TO_CANCEL for _, answer in answers)
    text = f"{result['signalled']} of {len(keys)} sessions had their query cancelled"
    if idle:
        text += f"; {idle} run nothing that could be"
    return f"{text}; {len(left)} go on all the same" if left else text, result


def terminate(
    site: Site, keys: Sequence[SessionKey], why: Why, fence: Fence
) -> tuple[str, dict[str, Any]]:
    """End those of the sessions that are still what they were, and wait until they are gone."""
    answers = _signal(site, keys, why, fence, database_signals.terminate)
    left = _wait(site, _signalled(answers), why, _END_SECONDS)
    result = counted(answers) | {"left": len(left)}
    spared = len(keys) - result["signalled"]
    return (
        f"{result['signalled']} of {len(keys)} sessions ended"
        + (f"; {spared} were gone or something else by now and were left alone" if spared else "")
        + (f"; {len(left)} have not gone yet" if left else ""),
        result,
    )


def still_there(site: Site, code: str) -> tuple[list[Cause], DatabaseReadings]:
    """Look until the cause is gone or the time is over: what is serious then, and the last look."""
    until = time.monotonic() + site.verify_seconds
    while True:
        seen = looked_at(site)
        causes = serious(diagnose(seen, site.target, site.limits))
        is_gone = not seen.unreachable and all(cause.code != code for cause in causes)
        if is_gone or time.monotonic() >= until:
            return list(causes), seen
        time.sleep(_LOOK_AGAIN_SECONDS)


def _signal(
    site: Site,
    keys: Sequence[SessionKey],
    why: Why,
    fence: Fence,
    send: Callable[..., Answer],
) -> Answers:
    answers: Answers = []
    with _connected(site) as connection:
        for key in keys:
            fence()
            answers.append((key, send(connection, key, why, site.protection)))
    return answers


def _signalled(answers: Answers) -> list[SessionKey]:
    return [key for key, answer in answers if answer.verdict is Verdict.SIGNALLED]


def _wait(site: Site, keys: Sequence[SessionKey], why: Why, seconds: float) -> Sequence[SessionKey]:
    """Until none of them is what it was, at most so long; those that still are."""
    until = time.monotonic() + seconds
    left = keys
    while left:
        left = _signalled(would_answer(site, left, why))
        if time.monotonic() >= until:
            break
        time.sleep(_POLL_SECONDS)
    return left


@contextmanager
def _connected(site: Site) -> Iterator[Connection[TupleRow]]:
    with postgres.connect(
        site.dsn,
        timeout_seconds=site.look.timeout_seconds,
        statement_seconds=site.look.timeout_seconds,
    ) as connection:
        yield connection
