"""What must be true after a fault of the cluster, judged from outside: pods, API, changes."""

import time
from typing import Any

import httpx

from deployments.lab.expectations import Check, Situation
from deployments.lab.kubernetes.manifests import API
from tasks.domain.facts import FactKind
from tasks.domain.restart_plan import RESTART

_ANSWER_SECONDS = 5.0
_ASKED = 20
_MOST_FAILING = 1
_SLOW_SECONDS = 1.0
_REPLICAS = 3


def first_cause(now: Situation) -> str:
    """What the first diagnosis that found anything has put first; `none` without any."""
    said = [fact.data for fact in now.incident.facts if fact.kind is FactKind.CAUSES_FOUND]
    causes: list[dict[str, Any]] = next((each["causes"] for each in said if each["causes"]), [])
    return str(causes[0]["code"]) if causes else "none"


def names_the_cause(now: Situation) -> Check:
    """The first diagnosis is the right one."""
    found = first_cause(now)
    return Check("the first diagnosis names the cause", found == now.damage.cause, found)


def pods_are_ready(now: Situation, app: str, least: int) -> Check:
    """So many pods of an app at least, and each of them, are ready."""
    life = now.lab.cluster_life
    there, ready = len(life.cluster.pods(app)), life.ready(app)
    holds = there == ready >= least
    return Check(f"all pods of {app} are ready", holds, f"{ready} of {there}")


def api_answers(now: Situation) -> Check:
    """Nearly every request is answered, and quickly."""
    failed, slowest = 0, 0.0
    headers = {"Authorization": f"Bearer {now.lab.api.token}"}
    with httpx.Client(
        base_url=now.lab.api.url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False
    ) as client:
        for _ in range(_ASKED):
            began = time.monotonic()
            try:
                failed += client.get("/api/v1/audit/head").status_code != httpx.codes.OK
            except httpx.TransportError:
                failed += 1
            slowest = max(slowest, time.monotonic() - began)
    holds = failed <= _MOST_FAILING and slowest < _SLOW_SECONDS
    found = f"{failed} of {_ASKED} fail, the slowest takes {slowest:.2f} s"
    return Check("the API answers, and quickly", holds, found)


def only_done(now: Situation, *steps: str) -> Check:
    """Of the steps that change something, these were carried out and no others."""
    done = [str(f.data["step"]) for f in now.incident.facts if f.kind is FactKind.STEP_DONE]
    holds = bool(done) and set(done) <= set(steps)
    return Check("nothing else was changed", holds, ", ".join(done) or "nothing was")


def of_api_down(now: Situation) -> list[Check]:
    """The pods were replaced, and serve."""
    return [
        names_the_cause(now),
        pods_are_ready(now, API, _REPLICAS),
        api_answers(now),
        only_done(now, RESTART),
    ]
