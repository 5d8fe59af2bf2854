"""The plan that isolates: what is cut off, who is locked, for how long, and that it goes back.

Roles are named by oid and shown as text in which nothing is hidden: a name may be made to lie to
the eye, and it may be given to another role until people have decided.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.breach_findings import MOST_SUSPECTS, address_in
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.isolation import (
    ACCOUNTS,
    CAUSE,
    NETWORK,
    POLICY_NAME,
    RETURN,
    SESSIONS,
    Decision,
    Lock,
    approvers_for,
)
from tasks.domain.isolation_state import PROCEDURE
from tasks.domain.journaled import items, mapping
from tasks.domain.plan import NOTHING, Plan, PlanStep
from tasks.domain.preserved import Preserved
from tasks.domain.untrusted import visible

NETWORK_TARGET = f"networkpolicy/{POLICY_NAME}"

_SHOWN = 10
_MOST_OID = 2**32
_CREDENTIALS = (
    "a credential is replaced where it is used as well, which only its owner knows; and a secret "
    "that the runbook could write it could also read"
)
"""Why rotating is a person's."""


def roles_target(database: str) -> str:
    """The roles of the patient's server, as plans, holds and locks name them."""
    return f"roles/{database}"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A role of PostgreSQL that is to be locked. `name` is for people, never for a statement."""

    oid: int
    name: str
    lock: Lock


@dataclass(frozen=True, slots=True)
class CutOff:
    """Pods with the labels `selected`, from which only those with `forensics` can be reached."""

    namespace: str
    selected: Mapping[str, str]
    forensics: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Isolating:
    """What one plan does. `addresses`: sessions from there are ended, whatever their role."""

    minutes: int
    hold: int
    network: CutOff | None = None
    roles: tuple[Suspect, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def is_anything(self) -> bool:
        """Whether there is something to isolate at all."""
        return self.network is not None or bool(self.roles or self.addresses)

    @property
    def steps(self) -> tuple[str, ...]:
        """The ids of its steps, without the return: locked first, or ended ones log in again."""
        return tuple(
            step
            for step, applies in (
                (NETWORK, self.network is not None),
                (ACCOUNTS, bool(self.roles)),
                (SESSIONS, bool(self.roles or self.addresses)),
            )
            if applies
        )

    def observed(self) -> dict[str, Any]:
        """What the plan is made against."""
        cut = self.network
        return {
            "cause": CAUSE,
            "hold": self.hold,
            "minutes": self.minutes,
            "network": cut
            and {
                "namespace": cut.namespace,
                "selected": dict(cut.selected),
                "forensics": dict(cut.forensics),
            },
            "roles": [
                {"oid": each.oid, "name": each.name, "lock": each.lock.value} for each in self.roles
            ],
            "addresses": list(self.addresses),
        }

    @classmethod
    def of(cls, plan: Plan | None) -> "Isolating":
        """What an approved plan does. Raises PlanStale without such a plan, BadInput."""
        if plan is None or plan.procedure != PROCEDURE:
            raise PlanStale("expected an approved plan to isolate, found none: look again")
        found = plan.observed
        minutes, hold = found.get("minutes"), found.get("hold")
        if type(minutes) is not int or minutes < 1 or type(hold) is not int:
            raise BadInput("expected minutes and the hold of a plan to isolate, found neither")
        return cls(
            minutes=minutes,
            hold=hold,
            network=_network(found.get("network")),
            roles=tuple(_suspect(each) for each in items(found.get("roles"))[:MOST_SUSPECTS]),
            addresses=tuple(
                address
                for each in items(found.get("addresses"))[:MOST_SUSPECTS]
                if (address := address_in(each))
            ),
        )


def plan_isolation(
    evidence: Preserved, isolating: Isolating, database: str, because: str, expires_at: datetime
) -> Plan:
    """The plan; it cannot be made without sealed evidence. Raises BadInput for nothing to do."""
    if not isolating.is_anything:
        raise BadInput("expected somebody or something to isolate, found nothing")
    if evidence.hold != isolating.hold:
        raise BadInput("expected evidence of the hold that the plan is about, found of another")
    locks = [Decision(each.name, each.lock, "") for each in isolating.roles]
    return Plan(
        incident=evidence.incident,
        procedure=PROCEDURE,
        summary=f"isolate for {isolating.minutes} minutes unless confirmed: {because}",
        steps=(*_steps(isolating, database), _return(isolating, database)),
        observed=isolating.observed(),
        will_be_lost=_lost(isolating),
        expires_at=expires_at,
        approvers_needed=approvers_for(locks),
    )


def target_of(step: str, isolating: Isolating, database: str) -> str:
    """What a step changes; the return has the door of whatever was isolated first."""
    is_network = step == NETWORK or (step == RETURN and isolating.network is not None)
    return NETWORK_TARGET if is_network else roles_target(database)


def to_rotate(roles: Iterable[Suspect], listed: int) -> list[str]:
    """Credentials that people must replace, and why the runbook does not."""
    found = [f"the password of the role {each.name}" for each in roles]
    if listed:
        found.append(f"the credentials of {listed} accounts that the API lists as suspicious")
    return [f"rotate by hand: {each} ({_CREDENTIALS})" for each in found]


def refused(decisions: Sequence[Decision]) -> list[str]:
    """Who was suspected and is not locked, each with its reason."""
    return [
        f"not locked: {visible(each.account, 63)}: {each.reason}"
        for each in decisions
        if each.lock is Lock.REFUSED
    ]


def _steps(isolating: Isolating, database: str) -> Iterable[PlanStep]:
    cut = isolating.network
    if cut is not None:
        labels = ", ".join(f"{key}={value}" for key, value in sorted(cut.selected.items()))
        yield PlanStep(
            NETWORK,
            f"cut the pods with {labels} off in both directions, but for forensics",
            NETWORK_TARGET,
            "service: requests under way and new ones of these pods",
        )
    if isolating.roles:
        names = ", ".join(each.name for each in isolating.roles[:_SHOWN])
        more = len(isolating.roles) - _SHOWN
        yield PlanStep(
            ACCOUNTS,
            f"lock {names}{f' and {more} more' if more > 0 else ''}: NOLOGIN",
            roles_target(database),
            "service, for whoever logs in with these roles",
        )
    if isolating.roles or isolating.addresses:
        where = f" and those from {len(isolating.addresses)} addresses" * bool(isolating.addresses)
        yield PlanStep(
            SESSIONS,
            f"end the sessions of locked roles{where}",
            roles_target(database),
            "what their open transactions did is rolled back",
        )


def _return(isolating: Isolating, database: str) -> PlanStep:
    return PlanStep(
        RETURN,
        f"after {isolating.minutes} minutes, unless a person confirms: delete the NetworkPolicy, "
        "let the locked roles log in again",
        target_of(RETURN, isolating, database),
        NOTHING,
    )


def _lost(isolating: Isolating) -> str:
    lost = ["the service of the pods that are cut off"] if isolating.network else []
    if isolating.roles or isolating.addresses:
        lost.append("open transactions of the sessions that are ended")
    return "; ".join(lost)


def _network(value: object) -> CutOff | None:
    if value is None:
        return None
    found = mapping(value)
    selected, forensics = mapping(found.get("selected")), mapping(found.get("forensics"))
    namespace = found.get("namespace")
    texts = [*selected.values(), *forensics.values(), namespace]
    if not selected or not forensics or not all(isinstance(each, str) for each in texts):
        raise BadInput("expected the labels of a NetworkPolicy in the plan, found others")
    return CutOff(str(namespace), dict(selected), dict(forensics))


def _suspect(value: object) -> Suspect:
    found = mapping(value)
    oid, name, lock = found.get("oid"), found.get("name"), found.get("lock")
    may_be = {Lock.ALLOWED.value, Lock.TWO_PEOPLE.value}
    is_one = type(oid) is int and 0 < oid < _MOST_OID and isinstance(name, str) and lock in may_be
    if not is_one:
        raise BadInput(f"expected a role of the plan with oid and name, found {str(value)[:60]!a}")
    return Suspect(int(oid or 0), str(name), Lock(str(lock)))
