"""Holds for a page: what an incident holds, what binds its plan from anywhere, and broken glass."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.facts import Fact
from tasks.domain.holds import Glass, Hold, binding
from tasks.domain.incident import Incident, Stage
from tasks.domain.untrusted import visible


@dataclass(frozen=True, slots=True)
class HoldView:
    """A hold that stands, or glass that is broken, until its review or its end.

    `incident` is where it was set, and where it is lifted; `blocks` says that as things are now
    nothing in its scope is changed.
    """

    incident: str
    scope: str
    by: str
    reason: str
    at: datetime
    until: datetime | None
    note: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Binding:
    """A hold that counts when the incident carries out its plan, and the targets that it covers."""

    hold: HoldView
    targets: tuple[str, ...]


def hold_view(hold: Hold) -> HoldView:
    """A hold for people to read."""
    note = "only a person lifts it" if hold.by_person else "until its evidence is sealed"
    return HoldView(
        incident=hold.incident,
        scope=visible(hold.scope, 400),
        by=visible(hold.by, 120),
        reason=visible(hold.reason, 600),
        at=hold.set_at,
        until=hold.review_due,
        note="its evidence is sealed" if hold.sealed else note,
        blocks=not hold.sealed,
    )


def glass_view(broken: Glass, now: datetime) -> HoldView:
    """Broken glass, likewise."""
    return HoldView(
        incident=broken.incident,
        scope=visible(broken.scope, 400),
        by=visible(broken.by, 120),
        reason=visible(broken.reason, 600),
        at=broken.at,
        until=broken.until,
        note="in force" if now < broken.until else "run out",
        blocks=False,
    )


def bindings(incident: Incident, facts: Sequence[Fact], now: datetime) -> tuple[Binding, ...]:
    """The holds that bind the standing plan, whichever incident has set them, oldest first.

    `facts` are those of `holds.KINDS` over all incidents: the door asks the same of them.
    """
    if incident.plan is None or incident.stage is Stage.CLOSED:
        return ()
    found: dict[Hold, list[str]] = {}
    for target in dict.fromkeys(step.target for step in incident.plan.steps):
        for hold in binding(facts, incident.id, target, now):
            found.setdefault(hold, []).append(visible(target))
    return tuple(
        Binding(hold_view(hold), tuple(found[hold]))
        for hold in sorted(found, key=lambda hold: hold.seq)
    )
