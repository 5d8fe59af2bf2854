"""Which cause is mended, and when a plan that mends one is over, whatever the component."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.domain.causes import Cause, Confidence
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.plan import Plan

BY_PEOPLE = "the remedy is manual: none that we may carry out would mend it"


def to_mend(causes: Sequence[Cause]) -> Cause | None:
    """The surest cause that we may mend after an approval; one that is only possible is none."""
    for cause in causes:
        if cause.remedy is not None and cause.confidence is not Confidence.POSSIBLE:
            return cause
    return None


def serious(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """Causes that are more than possible, the surest first."""
    return tuple(each for each in causes if each.confidence is not Confidence.POSSIBLE)


def planned_cause(plan: Plan | None) -> str:
    """The code of the cause that the plan mends; empty without one."""
    return str(plan.observed.get("cause", "")) if plan is not None else ""


def was_verified(incident: Incident) -> bool:
    """Whether the standing plan was carried out, and what it has brought was looked at.

    The look is recorded after the last step, also after those that undo what did not help.
    """
    return bool(incident.plan_hash) and any(
        fact.kind is FactKind.VERIFIED and fact.data.get("plan") == incident.plan_hash
        for fact in incident.facts
    )


@dataclass(frozen=True, slots=True)
class Effect:
    """What the same look has shown after a remedy: whether the planned cause is gone, in words.

    `causes`: the codes of what is still wrong. `unseen`: the look could not be made, so that the
    cause may be gone or not. `helps`: it is still there, and better than before: without the remedy
    it would be worse.
    """

    gone: bool
    text: str
    causes: tuple[str, ...] = ()
    unseen: bool = False
    helps: bool = False


def effect_on(code: str, causes: Sequence[Cause], unreachable: str = "") -> Effect:
    """The effect on the cause `code`, from what is still wrong now.

    `unreachable`: why the look could not be made; then nothing is gone.
    """
    same = next((cause for cause in causes if cause.code == code), None)
    codes = tuple(cause.code for cause in causes)
    if same is not None:
        return Effect(gone=False, text=f"{code} is not gone: {same.summary}", causes=codes)
    if unreachable:
        text = f"whether {code} is gone cannot be seen: {unreachable}"
        return Effect(gone=False, text=text, causes=codes, unseen=True)
    others = f"; still there: {', '.join(codes)}" if codes else ""
    return Effect(gone=True, text=f"{code} is gone{others}", causes=codes)


def described(causes: Sequence[Cause], unread: Mapping[str, str]) -> list[str]:
    """The first lines of a dry run: what was found, and what could not be looked at."""
    lines = [f"{each.code} ({each.confidence}): {each.summary}" for each in causes]
    return lines + [f"unknown: {name}: {reason}" for name, reason in unread.items()]
