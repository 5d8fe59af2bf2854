"""What the demo says in the end: a table for people, JSON for programs, one bit for the shell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from deployments.lab.alarm import Alarm
from deployments.lab.judging import Accounted
from tasks.domain import recovery_plan
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.untrusted import visible


@dataclass(frozen=True, slots=True)
class Judged:
    """The incident as journaled, and what was found without asking the journal.

    `resealed` is the size of the log that the sealer signed after the swap, None when it refused.
    """

    incident: Incident
    alarm: Alarm
    accounted: Accounted
    unnamed: set[int]
    misnamed: set[int]
    verified_again: bool
    resealed: int | None
    longest_gap: float
    memory_bytes: int
    total_seconds: float

    @property
    def proof_holds(self) -> bool:
        """Everything that the demo promises, judged from outside."""
        proof = self.incident.proof
        return bool(
            proof
            and proof.get("holds")
            and self.verified_again
            and self.resealed is not None
            and not self.accounted.missing
            and not self.unnamed
            and not self.misnamed
        )

    def step(self, name: str) -> Mapping[str, Any]:
        """The result of a step of the recovery; empty when it was not carried out."""
        done = self.incident.done(name)
        return done["result"] if done else {}

    def seconds_to(self, kind: FactKind) -> float | None:
        """From the alert's arrival to the first fact of this kind."""
        start, end = self._first(FactKind.ALERT_RECEIVED), self._first(kind)
        return round((end.at - start.at).total_seconds(), 3) if start and end else None

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes."""
        swap, report = self.step(recovery_plan.SWAP), self.incident.report or {}
        diagnosis = self.incident.diagnosis or {}
        return {
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
                "alert_to_diagnosis": self.seconds_to(FactKind.DIAGNOSED),
                "total": round(self.total_seconds, 1),
            },
            "acknowledged": {
                "records": self.accounted.acknowledged,
                "in_service": self.accounted.in_service,
                "listed_as_lost": self.accounted.listed_as_lost,
                "missing": list(self.accounted.missing),
            },
            "memory_bytes": self.memory_bytes,
            "state": self.incident.stage.value,
        }

    def _first(self, kind: FactKind) -> Fact | None:
        return next((fact for fact in self.incident.facts if fact.kind is kind), None)


def show(console: Console, judged: Judged) -> None:
    """The table of what happened, and where the report is."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, value in _rows(judged):
        table.add_row(name, value)
    console.print()
    console.print(table, markup=False)
    if judged.proof_holds:
        console.print("\n[bold green]The proof holds.[/]")
        return
    console.print("\n[bold red]The proof does not hold.[/]")
    if judged.unnamed or judged.misnamed:
        console.print(
            f"damaged but not named: {sorted(judged.unnamed)[:20]}; "
            f"named but not damaged: {sorted(judged.misnamed)[:20]}"
        )


def _rows(judged: Judged) -> list[tuple[str, str]]:
    state, swap = judged.incident, judged.step(recovery_plan.SWAP)
    diagnosis, report = state.diagnosis or {}, state.report or {}
    proof = (state.proof or {}).get("result", {})
    severity = state.severity.value if state.severity else "none"
    approvals = ", ".join(f"{made.decision} by {made.by}" for made in state.decisions) or "none"
    accounted = judged.accounted
    first, diagnosed = (
        judged.seconds_to(kind) for kind in (FactKind.CHECK_OBSERVED, FactKind.DIAGNOSED)
    )
    damage = f"{diagnosis.get('altered', 0)} records altered, {diagnosis.get('missing', 0)} missing"
    before, after = (swap.get(f"records_{when}") or 0 for when in ("before", "after"))
    lost = proof.get("records_lost", "an unknown number")
    outage = _of(swap.get("outage_seconds"))
    kept = f"{accounted.in_service:,} in service, {accounted.listed_as_lost} listed as lost"
    return [
        ("incident", f"{state.id}, {severity}: {visible(state.severity_reason)}"),
        ("state", f"{state.stage.value}, {state.outcome or 'not closed'}"),
        ("damage", damage),
        ("alert", str(judged.alarm)),
        ("decision", visible(approvals)),
        ("restored", f"{before:,} records before, {after:,} after, {lost} lost"),
        ("outage", f"{outage}; seen by the writer {judged.longest_gap:.2f} s"),
        (
            "acknowledged",
            f"{accounted.acknowledged:,} records: {kept}, {len(accounted.missing)} missing",
        ),
        ("sealed again", f"{judged.resealed:,} records" if judged.resealed else "refused"),
        ("first check", f"{_of(first)} after the alert"),
        ("diagnosis", f"{_of(diagnosed)} after the alert"),
        ("in all", f"{judged.total_seconds:.1f} s, {judged.memory_bytes / 1e9:.2f} GB of memory"),
        ("report", str(report.get("html", {}).get("path", "none"))),
        ("", str(report.get("pdf", {}).get("path", ""))),
    ]


def _of(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.2f} s"
