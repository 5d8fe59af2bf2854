"""The lines of a game day's table, each read from what one incident's journal says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from deployments.lab.expectations import Check
from deployments.lab.gameday.rounds import Kind, Round
from deployments.lab.outcome import Judged
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.untrusted import visible

_WIDTH = 60
_LINE = 300


@dataclass(frozen=True, slots=True)
class Line:
    """One line; seconds are None where it never came to that."""

    name: str
    kind: Kind
    detected: str
    severity: str
    mended: str
    verified: bool | None
    to_detect: float | None
    to_diagnose: float | None
    to_recover: float | None
    checks: tuple[Check, ...]

    @property
    def right(self) -> bool:
        """Whether everything that must be true is."""
        return bool(self.checks) and all(each.holds for each in self.checks)

    @property
    def wrong(self) -> list[Check]:
        """What is not as it must be."""
        return [each for each in self.checks if not each.holds]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "round": self.name,
            "kind": self.kind.value,
            "detected": self.detected,
            "severity": self.severity,
            "mended": self.mended,
            "verified": self.verified,
            "seconds": {
                "detect": self.to_detect,
                "diagnose": self.to_diagnose,
                "recover": self.to_recover,
            },
            "right": self.right,
            "wrong": [{"what": each.what, "found": each.found} for each in self.wrong],
        }


def of_scenario(played: Round, judged: Judged, of_several: str = "") -> Line:
    """Of a scenario that was played; `of_several` is its own name within a pair."""
    incident = judged.incident
    recovered = seconds_to_recovery(incident)
    checks = judged.checks
    if played.seconds is not None:
        in_time = recovered is not None and recovered <= played.seconds
        found = "never" if recovered is None else f"{recovered:.1f} s"
        what = f"recovered within {played.seconds:.0f} s of the alert, without waiting"
        checks = (*checks, Check(what, in_time, found))
    return Line(
        name=f"{played.name}: {of_several}" if of_several else played.name,
        kind=played.kind,
        detected=first_finding(incident),
        severity=incident.severity.value if incident.severity else "none",
        mended=done(incident),
        verified=bool((incident.proof or {}).get("holds")),
        to_detect=judged.alarm.seconds,
        to_diagnose=judged.seconds_to(FactKind.DIAGNOSED, FactKind.CAUSES_FOUND),
        to_recover=recovered,
        checks=checks,
    )


def of_control(
    played: Round, incidents: Sequence[Incident], checks: Iterable[Check], to_detect: float
) -> Line:
    """Of a round in which nothing was broken."""
    first = incidents[0] if incidents else None
    return Line(
        name=played.name,
        kind=played.kind,
        detected="; ".join(map(first_finding, incidents)) or "nothing",
        severity=first.severity.value if first and first.severity else "none",
        mended="; ".join(map(done, incidents)) or "nothing",
        verified=None,
        to_detect=to_detect,
        to_diagnose=None,
        to_recover=None,
        checks=tuple(checks),
    )


def of_failure(played: Round, error: str) -> Line:
    """Of a round that could not be played to its end."""
    check = Check("the round is played to its end", holds=False, found=error)
    return Line(played.name, played.kind, "-", "-", "-", None, None, None, None, (check,))


def first_finding(incident: Incident) -> str:
    """The surest cause of the first diagnosis that found one, or the ledger's verdict."""
    for fact in incident.facts:
        if fact.kind is FactKind.CAUSES_FOUND and fact.data["causes"]:
            return str(fact.data["causes"][0]["code"])
        if fact.kind is FactKind.DIAGNOSED:
            return str(fact.data["verdict"])
    return "no cause"


def done(incident: Incident) -> str:
    """The steps that were carried out, each once, in their order."""
    steps = [str(f.data["step"]) for f in incident.facts if f.kind is FactKind.STEP_DONE]
    return ", ".join(dict.fromkeys(steps)) or "nothing"


def seconds_to_recovery(incident: Incident) -> float | None:
    """From the first alert to the last proof, without the time that plans waited for people."""
    began = next((f.at for f in incident.facts if f.kind is FactKind.ALERT_RECEIVED), None)
    proofs = [f.at for f in incident.facts if f.kind is FactKind.VERIFIED and f.data.get("holds")]
    if began is None or not proofs:
        return None
    waited, asked = 0.0, None
    for fact in incident.facts:
        if fact.at > proofs[-1]:
            break
        if fact.kind is FactKind.PLAN_PROPOSED:
            asked = fact.at
        elif fact.kind is FactKind.PLAN_DECIDED and asked is not None:
            waited += (fact.at - asked).total_seconds()
            asked = None
    return round((proofs[-1] - began).total_seconds() - waited, 2)


def show(console: Console, lines: Sequence[Line]) -> None:
    """The table, and below it what is wrong."""
    table = Table(box=None, pad_edge=False)
    for head in ("round", "detected as", "severity", "mended by", "verified"):
        table.add_column(head, overflow="fold")
    for head in ("detect", "diagnose", "recover"):
        table.add_column(f"{head} s", justify="right")
    table.add_column("")
    for each in lines:
        verified = "-" if each.verified is None else "yes" if each.verified else "NO"
        table.add_row(
            visible(each.name, _WIDTH),
            visible(each.detected, _WIDTH),
            each.severity,
            visible(each.mended, _LINE),
            verified,
            *(_of(value) for value in (each.to_detect, each.to_diagnose, each.to_recover)),
            "right" if each.right else "WRONG",
        )
    console.print(table, markup=False)
    for each in lines:
        for check in each.wrong:
            console.print(
                f"{visible(each.name, _WIDTH)}: {visible(check, _LINE)}",
                markup=False,
                soft_wrap=True,
            )


def _of(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
