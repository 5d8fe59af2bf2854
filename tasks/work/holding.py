"""What people say about changes: hold them, let them go on, or break the glass.

A person's hold keeps the door closed until a person lifts it. The runbook's own hold, of what was
provably altered, cannot be lifted before its evidence is sealed; who cannot wait for that breaks
the glass, and is answerable for it. The hold of a suspected breach is set on an alert's word alone,
which may be forged: security lifts it, sealed or not.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tasks.domain.errors import NotApproved
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.holds import (
    EVERYTHING,
    GLASS_LASTS,
    KINDS,
    PERSONS_LIFT,
    Hold,
    binding,
    broken_glass,
    check_known,
    check_review,
    check_scope,
    is_within,
)
from tasks.domain.incident import Incident
from tasks.domain.isolation import CAUSE
from tasks.domain.names import is_same_person
from tasks.domain.roles import Act, may
from tasks.domain.routes import TRIAGE
from tasks.domain.severity import Severity
from tasks.work import incidents, journal
from tasks.work.declaring import Declaration, open_in
from tasks.work.floor import Floor, NoSuchIncident, floor, floor_in, require, said
from tasks.work.people import Person
from tasks.work.targets import known_targets, known_targets_in

__all__ = [
    "CHANGES",
    "break_glass",
    "hold",
    "hold_everything",
    "hold_until_sealed",
    "known_targets",
    "lift",
    "lift_from_everything",
]

CHANGES = "changes"
"""The component whose incident keeps the holds that belong to no other incident."""

_TITLE = "Hold on every change"
_ONE_CLICK = timedelta(minutes=1)
_FIRST_REVIEW = timedelta(hours=1)
RELEASES = "privacy-engine/release"
"""The release of private data, as a target of holds."""

SNAPSHOT = "a snapshot of the damaged table, the segments and the checkpoint"


def hold(incident: str, person: Person, scope: str, reason: str, review_at: datetime) -> Fact:
    """Refuse every change of the scope until a person lifts it; whoever is on call is told.

    Said again with other words or another review time, it replaces what was said before.
    """
    words = said(reason, "a reason for the hold")
    with floor(incident, person, Act.HOLD) as speaker:
        return _set(speaker, scope, words, review_at)


def hold_everything(
    person: Person, reason: str, review_at: datetime, scope: str = EVERYTHING
) -> str:
    """Refuse every change, whatever incident it is for; the id of the incident that keeps the hold.

    With a `scope` only the changes of that. Who set it knows of it, and its review time watches
    it: it is no urgent incident that climbs the matrix.
    """
    require(person, Act.HOLD)
    words = said(reason, "a reason for the hold")
    opening = Declaration(_TITLE, CHANGES, TRIAGE, Severity.P3, words)
    with incidents.durably() as connection:
        journal.lock(connection)
        known = incidents.open_one_of(connection, CHANGES)
        if known is None:
            speaker = open_in(connection, person, opening)
        else:
            speaker = floor_in(connection, known, person)
        _set(speaker, scope, words, review_at)
    return speaker.state.id


def hold_until_sealed(
    incident: str, scope: str, reason: str, damage: str, needs: str = SNAPSHOT
) -> Fact:
    """The runbook's own hold of what was altered, until the evidence of this damage is sealed.

    `damage` tells one diagnosis from another, `needs` says what must be sealed. A run that begins
    again finds the hold that it has set, lifted by a person or not; another damage is held anew,
    and needs evidence of its own.
    """
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        before = _about(state, scope)
        own = [fact for fact in before if (fact.kind, fact.actor) == (FactKind.HOLD_SET, RUNBOOK)]
        if own and own[-1].data.get("damage") == damage:
            return own[-1]
        data = {
            "scope": scope,
            "reason": reason,
            "review_at": (datetime.now(UTC) + _FIRST_REVIEW).isoformat(),
            "needs": needs,
            "damage": damage,
        }
        key = _key_of_the_next(scope, before)
        fact, _ = journal.append_in(connection, incident, FactKind.HOLD_SET, data, key=key)
        return fact


def hold_releases(incident: str, reason: str) -> Fact:
    """No release of private data until a person looked at what is contradicted, and lifts this.

    Set once for each reason: a run that begins again finds it, lifted or not.
    """
    with incidents.durably() as connection:
        journal.lock(connection)
        before = _about(journal.read_in(connection, incident), RELEASES)
        for fact in before:
            if fact.kind is FactKind.HOLD_SET and fact.data.get("reason") == reason:
                return fact
        data = {
            "scope": RELEASES,
            "reason": reason,
            "review_at": (datetime.now(UTC) + _FIRST_REVIEW).isoformat(),
            "needs": PERSONS_LIFT,
        }
        key = _key_of_the_next(RELEASES, before)
        fact, _ = journal.append_in(connection, incident, FactKind.HOLD_SET, data, key=key)
        return fact


def lift(incident: str, person: Person, scope: str, reason: str) -> Fact:
    """Let changes of the scope go on: every hold that this incident has set on just this scope.

    Of a closed incident too: its holds go on until they are lifted.
    """
    words = said(reason, "a reason for lifting the hold")
    with floor(incident, person, Act.LIFT) as speaker:
        return _lift(speaker, check_scope(scope), words)


def lift_from_everything(person: Person, reason: str, scope: str = EVERYTHING) -> Fact:
    """Lift what `hold_everything` has set."""
    require(person, Act.LIFT)
    words = said(reason, "a reason for lifting the hold")
    with incidents.durably() as connection:
        journal.lock(connection)
        known = incidents.open_one_of(connection, CHANGES)
        if known is None:
            raise NoSuchIncident(f"expected an open incident {_TITLE!r}, found none")
        return _lift(floor_in(connection, known, person), check_scope(scope), words)


def break_glass(incident: str, person: Person, scope: str, reason: str) -> Fact:
    """For an hour this incident may change the scope in spite of the holds that stand now.

    Only where it frees something: a held target of the incident's plan, or, before there is a plan,
    any that is held. A plan still needs its approval. The compliance officer and whoever is on call
    are told at once.
    """
    words = said(reason, "a reason for breaking the glass")
    check_scope(scope)
    with floor(incident, person, Act.BREAK_GLASS) as speaker:
        speaker.require_open("break the glass")
        known = known_targets_in(speaker.connection)
        check_known(scope, known)
        facts = journal.facts_of_kinds_in(speaker.connection, KINDS)
        targets = _planned_targets(speaker.state) or [one for one in known if one != EVERYTHING]
        held = [one for one in targets if binding(facts, incident, one, speaker.now)]
        if not any(is_within(target, scope) for target in held):
            return _broken_before(speaker, facts, scope, held)
        until = speaker.now + GLASS_LASTS
        data = {"scope": scope, "reason": words, "until": until.isoformat()}
        fact = speaker.say(FactKind.GLASS_BROKEN, data)
        speaker.escalate(f"glass.{fact.seq}")
    return fact


def _set(speaker: Floor, scope: str, reason: str, review_at: datetime) -> Fact:
    """The key counts what was said of the scope, so that it can be held again after a lift."""
    speaker.require_open("set a hold")
    data = {
        "scope": check_known(scope, known_targets_in(speaker.connection)),
        "reason": reason,
        "review_at": check_review(review_at, speaker.now).isoformat(),
        "needs": PERSONS_LIFT,
    }
    before = _about(speaker.state, scope)
    last = before[-1] if before else None
    if last is not None and _is_by(last, speaker) and _is_repeated(last, data):
        return last
    fact = speaker.say(FactKind.HOLD_SET, data, key=_key_of_the_next(scope, before))
    speaker.escalate(f"hold.set.{scope}.{fact.seq}")
    return fact


def _is_repeated(fact: Fact, data: Mapping[str, str]) -> bool:
    """A form that is sent twice may have counted its review time from either click."""
    if fact.kind is not FactKind.HOLD_SET or fact.data.get("reason") != data["reason"]:
        return False
    before, now = (datetime.fromisoformat(one["review_at"]) for one in (fact.data, data))
    return abs(before - now) < _ONE_CLICK


def _about(state: Incident, scope: str) -> list[Fact]:
    kinds = {FactKind.HOLD_SET, FactKind.HOLD_LIFTED}
    return [one for one in state.facts if one.kind in kinds and one.data.get("scope") == scope]


def _key_of_the_next(scope: str, before: Sequence[Fact]) -> str:
    return f"hold:{scope}:{len(before)}"


def _planned_targets(state: Incident) -> list[str]:
    return sorted({step.target for step in state.plan.steps}) if state.plan else []


def _is_by(fact: Fact, speaker: Floor) -> bool:
    return is_same_person(fact.actor, speaker.person.name)


def _lift(speaker: Floor, scope: str, reason: str) -> Fact:
    holds = [one for one in speaker.state.held() if one.scope == scope]
    before = _about(speaker.state, scope)
    if not holds and before and _is_by(before[-1], speaker):
        return before[-1]
    if not holds:
        standing = ", ".join(sorted({one.scope for one in speaker.state.held()})) or "none"
        raise NotApproved(
            f"expected a hold on {scope} that {speaker.state.id} has set and that stands, found "
            f"{standing}"
        )
    unsealed = [one for one in holds if not one.by_person and not one.sealed]
    for one in unsealed:
        if not _may_lift_unsealed(speaker, one):
            raise NotApproved(
                f"expected sealed evidence of {scope}, found none ({one.reason}): seal it first; "
                "who cannot wait for that breaks the glass"
            )
    data: dict[str, object] = {"scope": scope, "reason": reason}
    if unsealed:
        data["unsealed"] = True
    return speaker.say(FactKind.HOLD_LIFTED, data, key=f"lift:{scope}:{len(before)}")


def _may_lift_unsealed(speaker: Floor, hold: Hold) -> bool:
    """Security, of the hold that the breach procedure sets before anything was looked at."""
    is_suspicion = any(
        fact.seq == hold.seq and fact.actor == RUNBOOK and fact.data.get("damage") == CAUSE
        for fact in speaker.state.facts
    )
    return is_suspicion and may(speaker.person.role, Act.LIFT_UNSEALED)


def _broken_before(speaker: Floor, facts: list[Fact], scope: str, held: Sequence[str]) -> Fact:
    """The person's own glass that frees the scope still: the click was repeated."""
    for glass in reversed(broken_glass(facts)):
        same = (glass.incident, glass.scope) == (speaker.state.id, scope)
        if not same or glass.until <= speaker.now:
            continue
        fact = next(fact for fact in facts if fact.seq == glass.seq)
        if _is_by(fact, speaker):
            return fact
        raise NotApproved(
            f"{glass.by} has broken this glass already: holds on {scope} do not bind "
            f"{glass.incident} until {glass.until:%H:%M} UTC"
        )
    found = ", ".join(held) or "none"
    raise NotApproved(
        f"expected a scope that frees what is held of {speaker.state.id}, found {scope}, and held "
        f"{found}: there is no glass to break"
    )
