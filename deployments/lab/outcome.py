"""What the demo says in the end: a table for people, JSON for programs, one bit for the shell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from deployments.lab.alarm import Alarm
from deployments.lab.expectations import Check, Situation
from tasks.domain import recovery_plan
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.domain.untrusted import visible

_LINE = 500
_DIAGNOSIS = (FactKind.DIAGNOSED, FactKind.CAUSES_FOUND)
_TOLD = ("passed over: ", "the damage was done", "the WAL of ", "to put back: ", "proven from: ")
"""How lines of a dry run begin that say what was found; the others say what would be done."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The incident as journaled, and what was found without asking the journal."""

    scenario: str
    situation: Situation
    alarm: Alarm
    checks: tuple[Check, ...]
    longest_gap: float
    memory_bytes: int
    total_seconds: float

    @property
    def incident(self) -> Incident:
        """The incident that the scenario was about."""
        return self.situation.incident

    @property
    def proof_holds(self) -> bool:
        """Everything that the demo promises, judged from outside."""
        return all(check.holds for check in self.checks)

    def step(self, name: str) -> Mapping[str, Any]:
        """The result of a step of the recovery; empty when it was not carried out."""
        done = self.incident.done(name)
        return done["result"] if done else {}

    def seconds_to(self, *kinds: FactKind) -> float | None:
        """From the alert's arrival to the first fact of one of these kinds."""
        start, end = self._first(FactKind.ALERT_RECEIVED), self._first(*kinds)
        return round((end.at - start.at).total_seconds(), 3) if start and end else None

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes."""
        swap, report = self.step(recovery_plan.SWAP), self.incident.report or {}
        diagnosis, accounted = self.incident.diagnosis or {}, self.situation.accounted
        return {
            "scenario": self.scenario,
            "damaged": self.situation.damage.said,
            "checks": [
                {"what": one.what, "holds": one.holds, "found": one.found} for one in self.checks
            ],
            "incident": self.incident.id,
            "severity": self.incident.severity.value if self.incident.severity else None,
            "findings": [
                {name: one.get(name) for name in ("code", "source", "seq", "count")}
                for one in diagnosis.get("findings", [])
            ],
            "restore": {
                "records_before": swap.get("records_before"),
                "records_after": swap.get("records_after"),
                "verified": self.proof_holds,
                "outage_seconds": swap.get("outage_seconds"),
            },
            "report": {form: report.get(form, {}).get("path") for form in ("html", "pdf")},
            "timeline": len(self.incident.facts),
            "alert_sent_by": self.alarm.way.value,
            "seconds": {
                "damage_to_alert": round(self.alarm.seconds, 3),
                "alert_to_first_check": self.seconds_to(FactKind.CHECK_OBSERVED),
                "alert_to_diagnosis": self.seconds_to(*_DIAGNOSIS),
                "total": round(self.total_seconds, 1),
            },
            "acknowledged": {
                "records": accounted.acknowledged,
                "in_service": accounted.in_service,
                "listed_as_lost": accounted.listed_as_lost,
                "missing": list(accounted.missing),
            },
            "memory_bytes": self.memory_bytes,
            "state": self.incident.stage.value,
        }

    def _first(self, *kinds: FactKind) -> Fact | None:
        return next((fact for fact in self.incident.facts if fact.kind in kinds), None)


def show(console: Console, judged: Judged) -> None:
    """The table of what happened, what must be true of it, and where the report is."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, value in _rows(judged):
        table.add_row(name, value)
    console.print()
    console.print(table, markup=False)
    console.print("\njudged from outside:")
    for check in judged.checks:
        console.print(f"  {visible(check, _LINE)}", markup=False, soft_wrap=True)
    if judged.proof_holds:
        console.print("\n[bold green]The proof holds.[/]")
    else:
        console.print("\n[bold red]The proof does not hold.[/]")


def _rows(judged: Judged) -> list[tuple[str, str]]:
    state, report = judged.incident, judged.incident.report or {}
    severity = state.severity.value if state.severity else "none"
    approvals = ", ".join(f"{made.decision} by {made.by}" for made in state.decisions) or "none"
    first, diagnosed = (
        judged.seconds_to(*kinds) for kinds in ((FactKind.CHECK_OBSERVED,), _DIAGNOSIS)
    )
    return [
        ("incident", f"{state.id}, {severity}: {visible(state.severity_reason)}"),
        ("state", f"{state.stage.value}, {state.outcome or 'not closed'}"),
        ("damaged", visible(judged.situation.damage.said)),
        ("alert", str(judged.alarm)),
        *_lines("found", _found(judged)),
        *_lines("asked", _asked(state)),
        ("decision", visible(approvals)),
        *_lines("done", _summaries(state, FactKind.STEP_DONE)),
        *_lines("proven", _summaries(state, FactKind.VERIFIED)),
        *_restored(judged),
        ("first check", f"{_of(first)} after the alert"),
        ("diagnosis", f"{_of(diagnosed)} after the alert"),
        ("in all", f"{judged.total_seconds:.1f} s, {judged.memory_bytes / 1e9:.2f} GB of memory"),
        ("report", str(report.get("html", {}).get("path", "none"))),
        ("", str(report.get("pdf", {}).get("path", ""))),
    ]


def _found(judged: Judged) -> list[str]:
    """What the product has said of the damage: of the log, of backups, of the archive."""
    causes = [fact.data for fact in judged.incident.facts if fact.kind is FactKind.CAUSES_FOUND]
    if causes:
        found = causes[0]["causes"]
        return [visible(f"{one['code']} ({one['confidence']}): {one['summary']}") for one in found]
    said = [fact.data for fact in judged.incident.facts if fact.kind is FactKind.DIAGNOSED]
    worst = next((each for each in said if each["verdict"] == Status.TAMPERED), {})
    line = f"{worst.get('altered', 0)} records altered, {worst.get('missing', 0)} missing"
    if worst.get("stored_damage"):
        line += "; what proves them is damaged in the object store"
    told = [line for line in judged.situation.dry_run() if line.startswith(_TOLD)]
    return [line, *told]


def _asked(state: Incident) -> list[str]:
    return [
        f"{fact.data['target']['target']} by {fact.actor}: {fact.data['reason']}"
        for fact in state.facts
        if fact.kind is FactKind.TARGET_CHOSEN
    ]


def _summaries(state: Incident, kind: FactKind) -> list[str]:
    return [str(fact.data["summary"]) for fact in state.facts if fact.kind is kind] or ["nothing"]


def _restored(judged: Judged) -> list[tuple[str, str]]:
    """Of a database that was put into service: records, and how long writers waited."""
    swap = judged.step(recovery_plan.SWAP)
    if not swap:
        return []
    before, after = (swap.get(f"records_{when}") or 0 for when in ("before", "after"))
    lost = (judged.incident.proof or {}).get("result", {}).get("records_lost", "an unknown number")
    outage = _of(swap.get("outage_seconds"))
    return [
        ("restored", f"{before:,} records before, {after:,} after, {lost} lost"),
        ("outage", f"{outage}; seen by the writer {judged.longest_gap:.2f} s"),
    ]


def _lines(name: str, texts: list[str]) -> list[tuple[str, str]]:
    """One row each; the name stands before the first."""
    return [(name if i == 0 else "", visible(text, _LINE)) for i, text in enumerate(texts)]


def _of(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.2f} s"
