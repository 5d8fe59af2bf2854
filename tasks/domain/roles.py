"""Who may do what: one table of roles, and one of who decides on which procedure's plans."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What a person is to the runbook. A person has exactly one."""

    VIEWER = "viewer"
    RESPONDER = "responder"
    APPROVER = "approver"
    PRIVACY_OFFICER = "privacy-officer"
    SECURITY = "security"


class Act(StrEnum):
    """What a person may want to do; the value completes "may not ..."."""

    READ = "read"
    ACKNOWLEDGE = "acknowledge"
    NOTE = "add a note"
    LEAD = "take the lead"
    DECLARE = "declare an incident"
    CHANGE_SEVERITY = "change a severity"
    CLOSE = "close an incident"
    HOLD = "set a hold"
    LIFT = "lift a hold"
    LIFT_UNSEALED = "lift the hold of a suspected breach before its evidence is sealed"
    BREAK_GLASS = "break the glass"
    PUBLISH = "publish on the status page"
    STOP_CLOCK = "stop a clock"
    DECIDE = "decide on a plan"
    JUDGE_BREACH = "judge a breach of personal data"
    JUDGE_ISOLATION = "confirm an isolation or take it back"
    REVIEW = "write in a review"
    SIGN_OFF = "sign off a report"
    JUDGE_COMPLIANCE = "decide on a matter of compliance"


_SEE = frozenset({Act.READ})
_RESPOND = _SEE | {
    Act.ACKNOWLEDGE,
    Act.NOTE,
    Act.LEAD,
    Act.DECLARE,
    Act.CHANGE_SEVERITY,
    Act.CLOSE,
    Act.HOLD,  # to stop changes is always safe; to let them go on again is not
    Act.REVIEW,
}
_ANSWER_FOR = _RESPOND | {
    *(Act.LIFT, Act.BREAK_GLASS, Act.PUBLISH, Act.DECIDE),
    *(Act.SIGN_OFF, Act.JUDGE_COMPLIANCE),
}

ACTS: Mapping[Role, frozenset[Act]] = MappingProxyType(
    {
        Role.VIEWER: _SEE,
        Role.RESPONDER: _RESPOND,
        Role.APPROVER: _ANSWER_FOR | {Act.JUDGE_ISOLATION},
        Role.PRIVACY_OFFICER: _ANSWER_FOR
        | {Act.STOP_CLOCK, Act.JUDGE_BREACH},  # they are whom it must reach
        Role.SECURITY: _ANSWER_FOR | {Act.JUDGE_ISOLATION, Act.LIFT_UNSEALED},
    }
)
"""What each role may do at all; which plans it decides on is narrower: `deciders`."""

_PRIVACY = "privacy"  # prefix of the procedures about personal data
_BREACH = "breach"


def deciders(procedure: str) -> frozenset[Role]:
    """The roles that decide on plans of this procedure.

    Personal data is the privacy officer's alone: engineers do not reset a budget on their own word.
    A breach may be decided by security too, whose plans isolate. All else is the approvers'.
    """
    if procedure.startswith(_PRIVACY):
        return frozenset({Role.PRIVACY_OFFICER})
    if procedure == _BREACH:
        return frozenset({Role.APPROVER, Role.SECURITY})
    return frozenset({Role.APPROVER})


def decided_as(incident: str, plan: str) -> str:
    """The procedure by which a plan is decided, of those of its incident and of the plan itself.

    A plan about personal data is the privacy officer's, whatever alert its incident began with.
    """
    return plan if plan.startswith(_PRIVACY) else incident


def may(role: Role, act: Act, procedure: str = "") -> bool:
    """Whether the role allows the act; for DECIDE, on plans of this procedure."""
    if act not in ACTS[role]:
        return False
    return act is not Act.DECIDE or role in deciders(procedure)


def allowed(act: Act) -> tuple[Role, ...]:
    """The roles that may do this at all, as a refusal names them."""
    return tuple(role for role in Role if act in ACTS[role])
