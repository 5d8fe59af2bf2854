"""Look at a server from outside and in its pod at once, and say what both together mean."""

from collections.abc import Callable
from functools import partial

from tasks.clients.errors import ClientError, NotFound, Transient
from tasks.clients.pod_exec import Pod
from tasks.domain.both_sides import compared
from tasks.domain.errors import BadInput
from tasks.domain.inside import Answer, Inside
from tasks.domain.observation import Health
from tasks.sections.systems import KubernetesSettings
from tasks.settings import settings
from tasks.work.at_once import at_once
from tasks.work.checks import GRACE, Seen

AskInside = Callable[[KubernetesSettings, Pod, float], Inside]
"""Such as `tasks.clients.pod_answers.postgres_says`."""


def seen_twice(outside: Callable[[], Seen], ask: AskInside, pod: str, seconds: float) -> Seen:
    """Both looks, over in `seconds`; `pod` as in our settings: empty, and only outside is looked.

    A time-out or refusal from outside is Failed, what it does not say of the server Unknown.
    """
    looks: dict[str, Callable[[], Seen | Inside]] = {"outside": outside}
    if pod:
        looks["inside"] = partial(_inside, ask, pod, seconds)
    found = at_once(looks, seconds + GRACE)
    seen = _outside(found["outside"])
    inside = found.get("inside", Inside(Answer.UNKNOWN))
    if isinstance(inside, ClientError):
        inside = Inside(Answer.UNKNOWN, str(inside))
    assert isinstance(inside, Inside)  # noqa: S101  for the type checker
    both = compared(seen.health, seen.summary, inside)
    if not pod:
        return seen
    said = {"answer": inside.answer.value, "text": inside.text, "sides": both.agreement.value}
    return Seen(both.health, both.summary, {**seen.evidence, "in_pod": said})


def _inside(ask: AskInside, pod: str, seconds: float) -> Inside:
    try:
        return ask(settings().kubernetes, Pod.parse(pod), seconds)
    except BadInput as error:  # no cluster, or no identity for looking, is configured
        return Inside(Answer.UNKNOWN, str(error))


def _outside(found: object) -> Seen:
    if isinstance(found, Transient | NotFound):
        return Seen(Health.FAILED, str(found))
    if isinstance(found, ClientError):
        return Seen(Health.UNKNOWN, str(found))
    assert isinstance(found, Seen)  # noqa: S101  as above
    return found
