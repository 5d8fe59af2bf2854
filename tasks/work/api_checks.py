"""The runbook's looks at the API, each as its own check of one reading."""

from collections.abc import Callable, Mapping
from typing import Any

from tasks.domain.api_limits import ApiLimits
from tasks.domain.api_readings import ApiReadings, Unread, known, troubled
from tasks.domain.observation import Health
from tasks.domain.pod_shares import pod_shares
from tasks.work.checks import Seen

_NAMED = 20


def errors(seen: ApiReadings, _: ApiLimits) -> Seen:
    """Many errors: the share of answers with a 5xx status."""
    if isinstance(seen.traffic, Unread):
        return Seen(Health.UNKNOWN, seen.traffic.reason)
    share, impact = seen.traffic.error_share, seen.traffic.impact
    if impact.requests is None or (share is None and not impact.vanished):
        why = impact.unknown.get("error_share", "too few requests to tell")
        return Seen(Health.UNKNOWN, f"no share of errors: {why}", impact.as_json())
    bad = seen.traffic.is_failing()
    return Seen(Health.DEGRADED if bad else Health.HEALTHY, impact.summary, impact.as_json())


def slowness(seen: ApiReadings, limits: ApiLimits) -> Seen:
    """Slow answers: the 95th percentile against the time before the onset."""
    if isinstance(seen.traffic, Unread):
        return Seen(Health.UNKNOWN, seen.traffic.reason)
    p95, impact = seen.traffic.p95, seen.traffic.impact
    before = impact.seconds.get("baseline_p95_seconds")
    evidence = {"p95_seconds": p95, "baseline_p95_seconds": before, "slower": impact.slower}
    if p95 is None:
        return Seen(Health.UNKNOWN, "too few requests to tell how long they take", evidence)
    said = f"p95 {p95 * 1000:.0f} ms"
    said += f", before the onset {before * 1000:.0f} ms" if before is not None else ", no baseline"
    slow = seen.traffic.is_slow(limits)
    return Seen(Health.DEGRADED if slow else Health.HEALTHY, said, evidence)


def authentication(seen: ApiReadings, limits: ApiLimits) -> Seen:
    """Authentication fails: logins that were refused within the window."""
    if isinstance(seen.traffic, Unread):
        return Seen(Health.UNKNOWN, seen.traffic.reason)
    refused = seen.traffic.refused_logins
    if refused is None:
        return Seen(Health.UNKNOWN, "no metric counts refused logins")
    many = refused > limits.refused_logins
    text = f"{refused:.0f} logins were refused within {seen.traffic.window:.0f} s"
    return Seen(Health.DEGRADED if many else Health.HEALTHY, text, {"refused": round(refused, 1)})


def resources(seen: ApiReadings, limits: ApiLimits) -> Seen:
    """`kubectl top pods` against requests and limits; what ails pods, restarts, events."""
    if isinstance(seen.pods, Unread):
        return Seen(Health.UNKNOWN, seen.pods.reason)
    healths = seen.healths(limits)
    bad = troubled(healths)
    shares = pod_shares(seen.pods, known(seen.usage) or ())
    tight = [each.name for each in shares if each.is_tight]
    warnings = [each for each in known(seen.events) or () if each.warning]
    names = {each.name for each in seen.pods}
    evidence: dict[str, Any] = {
        "usage": [each.as_json() for each in shares[:_NAMED]],
        "troubled": [str(each) for each in bad[:_NAMED]],
        "restarts": {
            pod.name: count
            for pod in seen.pods[:_NAMED]
            if (count := sum(each.restarts for each in pod.containers))
        },
        "events": [
            f"{each.name} {each.reason}: {each.message}"[:300]
            for each in warnings
            if each.name in names
        ][-_NAMED:],
    }
    ready = sum(each.ready for each in seen.pods)
    said = f"{ready} of {len(seen.pods)} pods are ready"
    said += f", {len(bad)} in trouble: {bad[0]}" if bad else ""
    said += f", {len(tight)} at a limit" if tight else ""
    if isinstance(seen.usage, Unread):
        said += f"; usage unknown: {seen.usage.reason}"
    serves_nobody = not ready
    health = Health.FAILED if serves_nobody else Health.DEGRADED if bad or tight else Health.HEALTHY
    return Seen(health, said, evidence)


def connections(seen: ApiReadings, _: ApiLimits) -> Seen:
    """Connections to the database, and how well the things are that the API needs."""
    needs = {name: need.health.value for name, need in seen.needs.items()}
    evidence: dict[str, Any] = {"needs": needs}
    bad = [
        f"{name}: {need.summary}"
        for name, need in seen.needs.items()
        if need.health is not Health.HEALTHY
    ]
    found = known(seen.connections)
    said = "connections unknown"
    if found is not None:
        said = f"{found.used} of {found.usable} connections of the database are taken"
        evidence |= {"used": found.used, "usable": found.usable, "by_user": dict(found.by_user)}
    healths = {need.health for need in seen.needs.values()}
    order = (Health.FAILED, Health.DEGRADED, Health.UNKNOWN)
    health = next((each for each in order if each in healths), Health.HEALTHY)
    return Seen(health, "; ".join([said, *bad]), evidence)


def configuration(seen: ApiReadings, _: ApiLimits) -> Seen:
    """Recent changes: releases as they lie to the onset, and the last change of each ConfigMap."""
    if isinstance(seen.looked, Unread):
        return Seen(Health.UNKNOWN, seen.looked.reason)
    found = known(seen.configuration)
    changes = found.changes if found else ()
    unread = dict(found.unread) if found else {}
    if isinstance(seen.configuration, Unread):
        unread["configuration"] = seen.configuration.reason
    evidence = {
        "releases": [each.as_json() for each in seen.changes],
        "configuration": [each.as_json() for each in changes],
        "unread": unread,
    }
    said = [each.summary for each in seen.changes[:2]] or ["no release within a day"]
    said.append(f"{len(changes)} configuration objects looked at")
    said += [f"{name}: {why}" for name, why in list(unread.items())[:2]]
    suspect = seen.suspect is not None
    health = Health.DEGRADED if suspect else Health.UNKNOWN if unread else Health.HEALTHY
    return Seen(health, "; ".join(said), evidence)


CHECKS: Mapping[str, Callable[[ApiReadings, ApiLimits], Seen]] = {
    "api.symptom.errors": errors,
    "api.symptom.slow": slowness,
    "api.symptom.authentication": authentication,
    "api.diagnosis.resources": resources,
    "api.resolution.connections": connections,
    "api.resolution.configuration": configuration,
}
"""By the runbook's line."""
