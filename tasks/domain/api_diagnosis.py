"""What is wrong with the API: from one look to ranked causes. Pure; reads no alert's name.

What the API needs comes first: with its database away its pods are not ready, and no restart, no
roll-back and no further replica mends that. Then what its pods say, then what was changed shortly
before, then whether its resources are short. What an earlier one explains is only possible.
"""

import math
from collections.abc import Iterable, Sequence

from tasks.domain.api_limits import ApiLimits
from tasks.domain.api_need_causes import COMPONENT, coming_causes, explains_pods, need_causes
from tasks.domain.api_pod_causes import pod_causes, widely_killed
from tasks.domain.api_readings import ApiReadings, known
from tasks.domain.api_release_causes import broken_release, of_new_revision, release_before_onset
from tasks.domain.causes import Cause, Confidence, Remedial, ranked
from tasks.domain.mending import serious
from tasks.domain.observation import Health
from tasks.domain.pod_health import PodHealth
from tasks.domain.pod_shares import PodShare, pod_shares
from tasks.domain.recent_changes import CLOCKS_DIFFER, NEAR
from tasks.domain.scale_plan import SCALE_API, scale_remedial
from tasks.domain.scaling import Scaling, scale_up
from tasks.domain.severity import (
    Assessment,
    Severity,
    assess_errors,
    assess_performance,
)

__all__ = ["COMPONENT", "assess", "diagnose", "unexplained"]

_NAMED = 10


def diagnose(seen: ApiReadings, limits: ApiLimits) -> tuple[Cause, ...]:
    """Every cause that the look shows, the surest first; none when nothing is wrong."""
    healths = seen.healths(limits)
    needs = tuple(need_causes(seen, limits))
    away = explains_pods(seen)
    bad = of_new_revision(seen, healths)
    named = {each.pod.uid for each in bad}
    others = tuple(each for each in healths if each.pod.uid not in named)
    pods = (
        *broken_release(seen, bad, explained=away),
        *pod_causes(seen, others, limits, explained=away),
    )
    found = [*needs, *pods]
    # What is measured goes before what only came shortly before: nearness in time is no proof.
    found += _constrained(seen, healths, limits, explained=bool(serious(found)))
    if seen.is_troubled(limits):
        if not bad:
            found += release_before_onset(seen, explained=bool(serious(found)))
        found += _changed(seen, explained=bool(serious(found)))
    found += coming_causes(seen, explained=bool(serious(found)))
    return ranked((*found, *_refused_logins(seen, limits)))


def unexplained(seen: ApiReadings, causes: Sequence[Cause], limits: ApiLimits) -> str:
    """What users notice and no cause explains; empty: nothing. Refused logins explain no trouble.

    No cause of its own: a diagnosis that names it would end the search.
    """
    explaining = [each for each in serious(causes) if each.code != "api.authentication"]
    if explaining or not seen.is_troubled(limits):
        return ""
    answers, traffic = known(seen.answers), known(seen.traffic)
    said = [answers.summary] if answers is not None and answers.health is Health.FAILED else []
    if traffic is not None and (traffic.is_failing() or traffic.is_slow(limits)):
        said.append(traffic.impact.summary)
    return f"{'; '.join(said)}; nothing that was looked at says why"


def assess(seen: ApiReadings, limits: ApiLimits) -> Assessment | None:
    """What users notice, by the runbook's classification; None when that is nothing."""
    answers, traffic = known(seen.answers), known(seen.traffic)
    found: list[Assessment | None] = []
    if answers is not None and answers.health is Health.FAILED:
        text = f"the API does not serve: {answers.summary}"
        found.append(Assessment(Severity.P1, "class.p1.api-errors", text))
    if traffic is not None:
        slower, share = traffic.impact.slower, traffic.error_share
        found.append(None if slower is None else assess_performance(slower))
        found.append(None if share is None else assess_errors(share, traffic.impact.users_affected))
        if (traffic.refused_logins or 0.0) > limits.refused_logins:
            text = f"{traffic.refused_logins:.0f} logins were refused"
            found.append(Assessment(Severity.P1, "class.p1.authentication", text))
    known_ones = [each for each in found if each is not None]
    return min(known_ones, key=lambda each: each.severity) if known_ones else None


def _changed(seen: ApiReadings, *, explained: bool) -> Iterable[Cause]:
    """Configuration that was changed shortly before: what it was before, nobody keeps."""
    found = known(seen.configuration)
    if found is None or seen.onset is None:
        return
    near = [
        each
        for each in found.changes
        if each.at is not None and -CLOCKS_DIFFER <= seen.onset - each.at <= NEAR
    ]
    if near:
        first = near[0]
        who = f" by {first.who}" if first.who else ""
        yield Cause(
            "api.configuration-change",
            COMPONENT,
            Confidence.POSSIBLE if explained else Confidence.LIKELY,
            f"{first.source} was changed{who} shortly before it began: a person must say what it "
            "was before",
            {"changes": [each.as_json() for each in near[:_NAMED]]},
        )


def _constrained(
    seen: ApiReadings, healths: Sequence[PodHealth], limits: ApiLimits, *, explained: bool
) -> Iterable[Cause]:
    shares = pod_shares(known(seen.pods) or (), known(seen.usage) or ())
    full = {each.name: _fullness(each, limits) for each in shares}
    busy = {name: share for name, share in full.items() if share >= limits.busy_share}
    killed = widely_killed(healths)
    widely = bool(full) and 2 * len(busy) >= len(full)
    if not killed and not widely:
        return
    unnoticed = not killed and not seen.is_troubled(limits)
    said = ["half of the pods were killed for their memory"] if killed else []
    if widely:
        said.append(
            f"{len(busy)} of {len(full)} pods use {limits.busy_share:.0%} or more of what they may"
        )
    weak = explained or unnoticed
    remedy, why = (None, "") if weak else _more(seen, max(full.values(), default=1.0), limits)
    yield Cause(
        "api.resource-constrained",
        COMPONENT,
        Confidence.POSSIBLE if weak else Confidence.LIKELY,
        " and ".join(said) + ("; users do not notice it" if unnoticed else "") + why,
        {"shares": {name: round(share, 3) for name, share in sorted(busy.items())[:_NAMED]}},
        remedy,
    )


def _more(seen: ApiReadings, fullest: float, limits: ApiLimits) -> tuple[Remedial | None, str]:
    """So many replicas that each uses what it should, within every bound."""
    looked, around = known(seen.looked), known(seen.around)
    if looked is None or around is None or seen.policy is None:
        return None, "; how far it may be scaled is not known"
    workload = looked.workload
    wanted = math.ceil(workload.replicas * fullest / limits.wanted_share)
    decided = scale_up(workload, max(wanted, workload.replicas + 1), seen.policy, around)
    if isinstance(decided, Scaling):
        return scale_remedial(SCALE_API, workload, decided, around), ""
    return None, f"; {decided.text}"


def _fullness(share: PodShare, limits: ApiLimits) -> float:
    """The fullest of what a pod may use. Without a limit of CPU it is sure of its request alone."""
    shares = [share.cpu_of_limit, share.memory_of_limit]
    if share.cpu_of_limit is None and share.cpu_of_request is not None:
        shares.append(share.cpu_of_request * limits.busy_share)
    return max((each for each in shares if each is not None), default=0.0)


def _refused_logins(seen: ApiReadings, limits: ApiLimits) -> Iterable[Cause]:
    traffic = known(seen.traffic)
    refused = traffic.refused_logins if traffic is not None else None
    if traffic is not None and refused is not None and refused > limits.refused_logins:
        yield Cause(
            "api.authentication",
            COMPONENT,
            Confidence.LIKELY,
            f"{refused:.0f} logins were refused within {traffic.window:.0f} s: an attack, or a "
            "token that has expired",
            {"refused": round(refused, 1), "seconds": traffic.window},
        )
