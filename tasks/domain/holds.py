"""Holds: nothing in scope is changed until the evidence is sealed, or a person has let it go.

The runbook holds what was provably altered; sealed evidence satisfies such a hold. People hold
what they like; only a person's lift ends theirs. Who cannot wait breaks the glass: for one
incident, one scope and an hour, the holds that stood at that moment do not bind.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact, FactKind

EVERYTHING = "*"

PERSONS_LIFT = "a person's lift"
"""What a person's hold needs; every other text names evidence that must be sealed."""

GLASS_LASTS = timedelta(minutes=60)

LONGEST_REVIEW = timedelta(days=7)

KINDS = (
    FactKind.HOLD_SET,
    FactKind.HOLD_LIFTED,
    FactKind.EVIDENCE_SEALED,
    FactKind.GLASS_BROKEN,
    FactKind.CLOSED,
)
"""The facts that say what may be changed; `binding`, `standing_holds` and `broken_glass` read them.
"""

_SCOPE = re.compile(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,4}")


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that stands. `scope` is a target such as `database/rlhf_audit`, or `*`.

    `seq` is the place in the journal of the fact that set it, `by` who did.
    """

    incident: str
    scope: str
    reason: str
    set_at: datetime
    review_at: str
    needs: str
    by: str
    seq: int
    sealed: bool

    @property
    def by_person(self) -> bool:
        """Whether only a person's lift ends it."""
        return self.needs == PERSONS_LIFT

    @property
    def review_due(self) -> datetime | None:
        """When somebody must look at it again (UTC); None for one that does not say."""
        return _instant(self.review_at)


@dataclass(frozen=True, slots=True)
class Glass:
    """Glass that a person broke: holds on `scope` do not bind `incident` until then (UTC)."""

    incident: str
    scope: str
    reason: str
    by: str
    at: datetime
    until: datetime
    seq: int

    def frees(self, hold: Hold, incident: str, target: str, now: datetime) -> bool:
        """Whether the incident may change the target in spite of the hold.

        Glass over a part does not free the whole, and a hold that was set afterwards is news.
        """
        return (
            self.incident == incident
            and now < self.until
            and hold.seq < self.seq
            and is_within(target, self.scope)
        )


def database_target(database: str) -> str:
    """A database of the patient's server, as plans, holds and locks name it."""
    return f"database/{database}"


def workload_target(kind: str, name: str) -> str:
    """A workload of the patient's namespace, written as kubectl does: `deployment/celery-workers`.

    Whatever changes it (scale, roll back, restart) takes this one name, so that they exclude each
    other.
    """
    return f"{kind.lower()}/{name}"


def is_scope(text: str) -> bool:
    """Whether it is `*` or up to five names with slashes between."""
    return text == EVERYTHING or _SCOPE.fullmatch(text) is not None


def check_scope(text: str) -> str:
    """The scope, if it is one. Raises BadInput."""
    if not is_scope(text):
        raise BadInput(
            f"expected as scope `*` or a target such as database/rlhf_audit, found {text[:80]!a}"
        )
    return text


def check_known(scope: str, known: Collection[str]) -> str:
    """The scope, if it has to do with one of the `known` targets. Raises BadInput.

    A hold on a name that is mistyped would keep nothing from being changed.
    """
    check_scope(scope)
    targets = sorted(set(known) - {EVERYTHING})
    if scope != EVERYTHING and not any(covers(scope, target) for target in targets):
        raise BadInput(
            f"expected as scope `*`, or a known target, a part of one or what it is a part of, "
            f"found {scope!a}, which is none of these; known are {', '.join(targets)}"
        )
    return scope


def check_review(review_at: datetime, now: datetime) -> datetime:
    """The time in UTC, if it lies ahead and at most seven days. Raises BadInput."""
    if review_at.tzinfo is None:
        raise BadInput("expected a review time with its offset from UTC, found one without")
    if not now < review_at <= now + LONGEST_REVIEW:
        raise BadInput(
            f"expected a review time within the next {LONGEST_REVIEW.days} days, found "
            f"{review_at.isoformat()}"
        )
    return review_at.astimezone(UTC)


def covers(scope: str, target: str) -> bool:
    """Whether a hold of `scope` forbids changing `target`; scopes nest at slashes.

    A hold on a part covers the whole as well: who changes a database changes its tables.
    """
    return is_within(target, scope) or is_within(scope, target)


def is_within(target: str, scope: str) -> bool:
    """Whether the whole target lies in the scope."""
    return scope in {EVERYTHING, target} or target.startswith(scope + "/")


def binding(facts: Sequence[Fact], incident: str, target: str, now: datetime) -> list[Hold]:
    """The holds that count when the incident wants to change the target, in order.

    Those whose evidence is sealed are among them: only the object store can tell whether it is
    still there. Of a closed incident they bind nobody: its evidence has done what it was held for.
    """
    glass = broken_glass(facts)
    closed = {fact.incident for fact in facts if fact.kind is FactKind.CLOSED}
    return [
        hold
        for hold in standing_holds(facts)
        if covers(hold.scope, target)
        and not (hold.sealed and hold.incident in closed)
        and not any(broken.frees(hold, incident, target, now) for broken in glass)
    ]


def standing_holds(facts: Iterable[Fact]) -> list[Hold]:
    """Holds that were set and not lifted, from facts of any number of incidents, in order.

    Sealed evidence satisfies a hold only when it was sealed after the hold was set, by the same
    incident, for the same scope and for no other hold, and never a person's hold. A person's hold
    and the runbook's may stand on one scope; a lift ends both.
    """
    holds: dict[tuple[str, str, bool], Hold] = {}
    for fact in facts:
        scope = _scope(fact)
        if fact.kind is FactKind.HOLD_SET:
            hold = _hold(fact, scope)
            name = (hold.incident, hold.scope, hold.by_person)
            holds.pop(name, None)  # set anew, it is as old as its newest fact
            holds[name] = hold
        elif fact.kind is FactKind.HOLD_LIFTED:
            for by_person in (True, False):
                holds.pop((fact.incident, scope, by_person), None)
        elif fact.kind is FactKind.EVIDENCE_SEALED:
            name = (fact.incident, scope, False)
            held = holds.get(name)
            if held is not None and fact.data.get("hold", held.seq) == held.seq:
                holds[name] = replace(held, sealed=True)
    return list(holds.values())


def broken_glass(facts: Iterable[Fact]) -> list[Glass]:
    """Every glass that was broken, run out or not. One that does not say of what frees nothing."""
    glass = []
    for fact in facts:
        if fact.kind is not FactKind.GLASS_BROKEN:
            continue
        scope, until = _scope(fact), _instant(fact.data.get("until"))
        if scope and until is not None:
            reason = str(fact.data.get("reason", ""))
            glass.append(Glass(fact.incident, scope, reason, fact.actor, fact.at, until, fact.seq))
    return glass


def _hold(fact: Fact, scope: str) -> Hold:
    return Hold(
        incident=fact.incident,
        scope=scope or EVERYTHING,  # one that does not say covers everything: it fails closed
        reason=str(fact.data.get("reason", "")),
        set_at=fact.at,
        review_at=str(fact.data.get("review_at", "")),
        needs=str(fact.data.get("needs", "")),
        by=fact.actor,
        seq=fact.seq,
        sealed=False,
    )


def _scope(fact: Fact) -> str:
    """Empty for one that does not say: then it lifts no hold and satisfies none."""
    scope = fact.data.get("scope")
    return scope if isinstance(scope, str) else ""


def _instant(value: object) -> datetime | None:
    """In UTC; None for what is no instant, or has no offset."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
