"""Actions that the facts suggest; which become action items is for people to say."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.domain.incident import Incident
from tasks.domain.journaled import UNKNOWN
from tasks.domain.ledger.verdicts import Code
from tasks.domain.readings import Readings

UNASSIGNED = "to be assigned"

_BY_HAND = frozenset(
    {Code.MODIFIED, Code.DELETED, Code.INSERTED, Code.REORDERED, Code.SOURCE_MISSING, Code.LOST}
)
"""What no writer with the API's own rights can do to the table."""

_LONG_OUTAGE_SECONDS = 5.0  # the swap by rename takes well under one


@dataclass(frozen=True, slots=True)
class Action:
    """A proposal. `kind` is prevent, detect, mitigate or process; `because` names the fact."""

    action: str
    kind: str
    because: str
    owner: str = UNASSIGNED
    due: str = UNASSIGNED


def proposed_actions(incident: Incident, readings: Readings) -> Iterator[Action]:
    """Proposals in the order prevent, detect, mitigate, process; owners are for people to name."""
    yield from _prevention(readings)
    yield from _detection(readings)
    yield from _mitigation(readings)
    yield from _process(incident, readings)


def _prevention(readings: Readings) -> Iterator[Action]:
    codes = {row.code for row in readings.damage.against}
    if codes & _BY_HAND:
        named = ", ".join(sorted(codes & _BY_HAND))
        yield Action(
            "Rotate the credentials of every role that can change audit_records, superuser first",
            "prevent",
            f"{named}: impossible with the rights of the writing role",
        )
        yield Action(
            "Review who held superuser or owner rights on the database, and from where",
            "prevent",
            "the facts prove the alteration, not who made it",
        )


def _detection(readings: Readings) -> Iterator[Action]:
    if readings.damage.against:
        yield Action(
            "Find out when the damage was done, from server logs and older backups",
            "detect",
            "time to detect counts from the alert only",
        )
    for check in readings.checks:
        if check.health == "Unknown":
            yield Action(
                f"Give the check {check.step} what it needs to answer", "detect", check.summary
            )


def _mitigation(readings: Readings) -> Iterator[Action]:
    restored, lost = readings.restored, readings.lost
    unsigned = restored.carried_over if restored else None
    if lost or unsigned:
        yield Action(
            "Shorten the sealing interval, so that fewer records are unsigned at any time",
            "mitigate",
            f"{unsigned or 0:,} unsigned records carried over by their chain, {lost or 0:,} lost",
        )
    outage = readings.figure("outage").value
    if outage is not None and outage > _LONG_OUTAGE_SECONDS:
        yield Action("Find out why the swap took so long", "mitigate", f"outage of {outage:.1f} s")
    for step in readings.steps:
        if step.outcome != "done":
            how = "failed" if step.outcome == "failed" else "did not finish"
            yield Action(
                f"Find out why the step {step.step} {how}",
                "mitigate",
                step.summary or step.outcome,
            )


def _process(incident: Incident, readings: Readings) -> Iterator[Action]:
    if any(made.simulated for made in readings.approvals):
        yield Action(
            "Repeat the exercise with a person who reads the plan and decides",
            "process",
            "the approval was simulated",
        )
    if readings.restored is not None and readings.restored.quarantine != UNKNOWN:
        yield Action(
            f"Keep the database {readings.restored.quarantine} until the investigation ends, "
            "then decide in writing about its deletion",
            "process",
            "it holds the damaged table",
        )
    locks = sorted(row.locked_until for row in readings.evidence if row.locked_until != UNKNOWN)
    if locks:
        yield Action(
            f"Review the evidence before its lock ends at {locks[0]}", "process", "Object Lock"
        )
    undelivered = sorted(
        {row.channel for row in readings.messages if row.kind == "notification failed"}
    )
    for channel in undelivered:
        yield Action(f"Mend the channel {channel}", "process", "a notification did not arrive")
    for clock in readings.clocks:
        if clock.state == "MISSED":
            yield Action(
                f"Write down why the clock {clock.clock} was missed", "process", f"due {clock.due}"
            )
    if incident.closed_at is not None and readings.is_unproven:
        yield Action(
            "Verify the log again before relying on it", "process", "closed without a proof"
        )
