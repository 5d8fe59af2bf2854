"""The report's sentences, each derived from a fact; where no fact speaks, it says so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasks.domain.breach_decision import decision_of, scope_of, standing_severity
from tasks.domain.compliance_decisions import (
    QUESTIONS,
    Decided,
    Matter,
    auditors_step,
    decisions,
)
from tasks.domain.damage import IN_WORDS, Damage
from tasks.domain.incident import Incident
from tasks.domain.journaled import UNKNOWN, utc
from tasks.domain.readings import Readings
from tasks.domain.review import status_words
from tasks.domain.untrusted import visible

_WHOLE = "whether it is whole is UNKNOWN"
_PARTICIPLES: Mapping[str, str] = {code.value: words for code, words in IN_WORDS.items()}


@dataclass(frozen=True, slots=True)
class Statement:
    """Something that a reader asks, what the facts answer, and from what that follows."""

    question: str
    answer: str
    basis: str


def summary(incident: Incident, readings: Readings) -> tuple[str, ...]:
    """What happened, what was damaged, what was done, whether it is proven: four sentences."""
    return (
        _what_happened(incident, readings),
        _what_was_damaged(readings.damage),
        _what_was_done(incident, readings),
        _what_is_proven(readings),
    )


def _what_happened(incident: Incident, readings: Readings) -> str:
    if readings.alerts:
        alert = readings.alerts[0]
        more = len(readings.alerts) - 1
        others = f" ({more} more belong to the same incident)" if more else ""
        return (
            f"At {alert.received} the alert “{alert.name}” was received{others}: “{alert.summary}”"
        ).rstrip(".") + "."
    if incident.opened_at is None:
        return "How the incident began is UNKNOWN: the journal has no fact of its opening."
    by = visible(incident.opened_by, 120)
    return f"At {utc(incident.opened_at)} the incident was opened by {by}, without an alert."


def counted(number: int, noun: str = "record") -> str:
    """`1 record`, `50,000 records`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def damage_in_words(damage: Damage) -> str:
    """`3 records altered, 5 records deleted`; a lower bound when findings are missing."""
    whole = [row for row in damage.against if row.first is None]
    parts = [f"{row.code} of the {row.source}" for row in whole[:3]]
    ranged = {row.code for row in damage.against if row.first is not None}
    parts += [
        f"{counted(number)} {_PARTICIPLES.get(code, 'with finding ' + code)}"
        for code, number in damage.by_code().items()
        if code in ranged
    ]
    return ("" if damage.complete else "at least ") + ", ".join(parts)


def _what_was_damaged(damage: Damage) -> str:
    against = f" against the signed checkpoint of {counted(damage.signed)}" if damage.signed else ""
    if damage.against:
        return f"Verification{against} proved: {damage_in_words(damage)}."
    if damage.verdict == "verified":
        return f"Verification{against} found no record altered, deleted or slipped in."
    reason = f": {damage.reason}" if damage.reason else ""
    if damage.verdict:
        return f"Verification could not tell whether records were damaged{reason}."
    return "Whether audit records were damaged is UNKNOWN: no diagnosis is in the journal."


def _what_was_done(incident: Incident, readings: Readings) -> str:
    done = [step for step in readings.steps if step.outcome == "done"]
    failed = [step for step in readings.steps if step.outcome == "failed"]
    if not readings.steps:
        last = readings.decisions[-1] if readings.decisions else None
        if last is not None and last.decision != "approved":
            return f"Nothing was changed: the plan was {last.decision} by {last.by}."
        if readings.plans and last is None:
            return "Nothing has been changed: the plan waits for a decision."
        return "Nothing was changed."
    people = ", ".join(dict.fromkeys(made.by for made in readings.approvals))
    text = counted(len(done), "step") + (" was" if len(done) == 1 else " were") + " carried out"
    text += f" after approval by {people}" if people else " without a recorded approval"
    if readings.restored is not None:
        text += f", restoring from {readings.restored.backup}"
    outage = readings.figure("outage")
    text += f", with an outage of {outage.display}"
    if failed:
        text += f"; {counted(len(failed), 'step')} failed"
    if incident.outcome:
        text += f"; the incident was closed as “{visible(incident.outcome, 80)}”"
    return text + "."


def _what_is_proven(readings: Readings) -> str:
    proof = readings.proof
    if proof is None:
        return f"{_what_was_seen(readings)}No proof over the log is in the journal: {_WHOLE}."
    if proof.holds is None:
        return "Whether the proof over the log holds is UNKNOWN."
    if not proof.holds:
        return f"The proof over the log DOES NOT HOLD: {proof.summary}."
    under = f" over {counted(proof.size)}" if proof.size is not None else ""
    lost = {
        None: "what was lost is UNKNOWN",
        0: "no record was lost",
    }.get(readings.lost)
    if lost is None and readings.lost is not None:
        verb = "is" if readings.lost == 1 else "are"
        lost = f"{counted(readings.lost)} could not be saved and {verb} listed by number"
    return f"The proof{under} holds: {proof.summary}; {lost}."


def _what_was_seen(readings: Readings) -> str:
    """The last look, where a component was mended, cut off or halted and not the log."""
    seen = readings.seen
    if seen is None:
        return ""
    ended = {None: "whether it held is UNKNOWN", True: "held", False: "DID NOT HOLD"}[seen.holds]
    return f"The last look ({seen.what}) {ended}: {seen.summary}. "


def notices(incident: Incident, readings: Readings) -> Iterator[str]:
    """What a reader must know before anything else: exercises and simulated approvals."""
    if any(fact.data.get("simulated") is True for fact in incident.facts):
        yield "EXERCISE: this incident was opened as a simulation."
    for by in dict.fromkeys(made.by for made in readings.decisions if made.simulated):
        yield f"SIMULATED APPROVAL: “{by}” is no person; the decision was given by the machine."
    if readings.is_unproven:
        yield "NO PROOF HOLDS after the changes in this report; treat the log as unproven."


def impact(incident: Incident, readings: Readings) -> Iterator[Statement]:
    """What it did to records, service and people; each with the query or derivation."""
    damage, restored = readings.damage, readings.restored
    bound = "" if damage.complete else "at least "
    diagnosed = bool(damage.verdict)
    whole = any(row.first is None for row in damage.against)
    yield Statement(
        "Audit records damaged",
        (f"{bound}{damage.affected:,}" + (" and whole artefacts" if whole else ""))
        if diagnosed
        else UNKNOWN,
        "distinct positions of the findings against the log, all diagnoses",
    )
    yield Statement(
        "Audit records under the signed checkpoint",
        f"{damage.signed:,}" if damage.signed else UNKNOWN,
        "size of the checkpoint that was verified against",
    )
    yield Statement(
        "Audit records lost for good",
        f"{readings.lost:,}" if readings.lost is not None else UNKNOWN,
        "sum of the ranges in the proof's loss list",
    )
    if restored is not None:
        newer = [n for n in (restored.from_segments, restored.carried_over) if n is not None]
        yield Statement(
            "Records newer than the backup, saved",
            f"{sum(newer):,}" if newer else UNKNOWN,
            "from_segments + carried_over of the restore step",
        )
    for key, question in (("outage", "Service outage"), ("time_to_recover", "Duration to proof")):
        figure = readings.figure(key)
        yield Statement(question, figure.display, figure.derivation)
    yield Statement("Users affected", UNKNOWN, "no fact measures it")
    yield Statement(
        "When the damage was done",
        UNKNOWN,
        "the log proves that it was after the records were signed, not when",
    )
    measured = scope_of(incident)
    yield Statement(
        "Personal data that may be disclosed",
        visible(measured[0].words(), 1000) if measured else UNKNOWN,
        "counted by read-only queries; people by a keyed hash"
        if measured
        else "no fact measures it; a person decides",
    )


def detection(readings: Readings) -> Iterator[str]:
    """What noticed it, what did not, and what could not look."""
    names = list(dict.fromkeys(alert.name for alert in readings.alerts))
    if names:
        yield f"The response was started by: {', '.join(names[:5])}."
    else:
        yield "No alert started the response; a person did, or the journal does not say."
    claimed = readings.figure("time_to_detect")
    yield f"From the alert's own start to its receipt: {claimed.display}."
    unknown = [check for check in readings.checks if check.health == "Unknown"]
    if unknown:
        steps = ", ".join(check.step for check in unknown[:10])
        yield f"{counted(len(unknown), 'check')} could not tell: {steps}."
    if readings.damage.against:
        blind = [
            check
            for check in readings.checks
            if check.component.startswith("audit") and check.health == "Healthy"
        ]
        if blind:
            steps = ", ".join(check.step for check in blind[:10])
            yield f"Said Healthy although damage was proven: {steps}."


def compliance(incident: Incident, readings: Readings) -> Iterator[Statement]:
    """The questions of the regimes; a legal answer is a person's, and absent until recorded."""
    proof = readings.proof
    held = proof.holds if proof else None
    yield Statement(
        "Is the log complete and unaltered again?",
        UNKNOWN if held is None else _whole_again(readings) if held else "NO",
        "last proof against the signed checkpoint",
    )
    locks = sorted(row.locked_until for row in readings.evidence if row.locked_until != UNKNOWN)
    yield Statement(
        "Is the evidence preserved?",
        f"{len(readings.evidence)} items, locked until {locks[0]} at the earliest"
        if locks
        else UNKNOWN,
        "Object Lock of the sealed items; AI Act Art. 26(6): logs at least six months",
    )
    decision = "UNKNOWN: no decision of a named person is recorded"
    decided, severity = decision_of(incident), standing_severity(incident)
    yield Statement(
        "Is it a personal data breach to notify?",
        f"risk to people: {decided.risk}, decided by {visible(decided.by, 120)}: "
        f"{visible(decided.reason, 600)}"
        if decided
        else decision,
        "GDPR Art. 33 and 34"
        + (f"; ENISA {severity.score:g} {severity.band}" if severity is not None else ""),
    )
    stands = decisions(incident.facts)
    for matter, (question, basis) in QUESTIONS.items():
        known = stands.get(matter)
        yield Statement(question, decision if known is None else known.words, basis)
    yield from _auditors(incident, stands.get(Matter.AUDITORS))
    yield Statement("How far is the review?", status_words(incident.facts), "the facts below")


def _auditors(incident: Incident, decided: Decided | None) -> Iterator[Statement]:
    """Whether they heard of it, when a person has said that they must."""
    if decided is None or not decided.yes:
        return
    moment = auditors_step(decided)
    told = [each for each in incident.notified if each.get("moment") == moment]
    yield Statement(
        "Were the auditors told?",
        f"yes, {visible(told[0].get('audience'), 120)} by {visible(told[0].get('channel'), 120)}"
        if told
        else "NOT YET: no message has arrived",
        "messages that a way of telling has taken",
    )


def _whole_again(readings: Readings) -> str:
    if readings.lost is None:
        return "unaltered: proven; complete: UNKNOWN, the proof does not speak of losses"
    if readings.lost:
        return f"unaltered: proven; complete but for {counted(readings.lost)}, listed by number"
    return "yes, proven"
