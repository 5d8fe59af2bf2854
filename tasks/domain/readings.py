"""Everything that a report is written from: the facts of one incident, read once into tables."""

from dataclasses import dataclass
from datetime import datetime

from tasks.domain import report_changes as changes
from tasks.domain import report_tables as seen
from tasks.domain.approval import APPROVED
from tasks.domain.damage import Damage, read_damage
from tasks.domain.incident import Incident
from tasks.domain.metric_ranges import RangeRow, ranges_of
from tasks.domain.metrics import Figure, Phase, measure, phases
from tasks.domain.proofs import OF_THE_LOG
from tasks.domain.response_targets import response_clock
from tasks.domain.timeline import TimelineRow, timeline


@dataclass(frozen=True, slots=True)
class Readings:
    """Tables over the same facts; see the modules that read them."""

    timeline: tuple[TimelineRow, ...]
    phases: tuple[Phase, ...]
    figures: tuple[Figure, ...]
    severities: tuple[seen.SeverityRow, ...]
    alerts: tuple[seen.AlertRow, ...]
    checks: tuple[seen.CheckRow, ...]
    damage: Damage
    holds: tuple[changes.HoldRow, ...]
    evidence: tuple[seen.EvidenceRow, ...]
    plans: tuple[changes.PlanRow, ...]
    decisions: tuple[changes.DecisionRow, ...]
    steps: tuple[changes.StepRow, ...]
    restored: changes.RestoreRow | None
    proofs: tuple[changes.ProofRow, ...]
    clocks: tuple[seen.ClockRow, ...]
    messages: tuple[seen.MessageRow, ...]
    ranges: tuple[RangeRow, ...]

    def figure(self, key: str) -> Figure:
        """A time figure by its key."""
        return next(figure for figure in self.figures if figure.key == key)

    @property
    def proof(self) -> changes.ProofRow | None:
        """The last proof over the log: what the report believes of the log."""
        return next((row for row in reversed(self.proofs) if row.what in OF_THE_LOG), None)

    @property
    def seen(self) -> changes.ProofRow | None:
        """The last row of any kind: a component's remedy has no proof over the log, only a look."""
        return self.proofs[-1] if self.proofs else None

    @property
    def is_unproven(self) -> bool:
        """Whether something was changed and nothing proves it right.

        The look after a remedy is enough where no diagnosis speaks against the log.
        """
        shown = self.proof
        if shown is None and self.damage.verdict in {"", "verified"}:
            shown = self.seen
        return bool(self.steps) and (shown is None or shown.holds is not True)

    @property
    def lost(self) -> int | None:
        """Records that could not be saved, by the last proof that speaks of losses."""
        return _lost(self.proofs)

    @property
    def approvals(self) -> tuple[changes.DecisionRow, ...]:
        """Decisions that said yes."""
        return tuple(made for made in self.decisions if made.decision == APPROVED)


def _lost(proofs: tuple[changes.ProofRow, ...]) -> int | None:
    told = [proof.lost_count for proof in proofs if proof.lost_count is not None]
    return told[-1] if told else None


def read(incident: Incident, now: datetime) -> Readings:
    """The tables of an incident; `now` matters only to clocks that still run."""
    facts = incident.facts
    proofs = changes.proofs(facts)
    return Readings(
        timeline=timeline(facts),
        phases=phases(facts),
        figures=measure(facts),
        severities=seen.severities(facts),
        alerts=seen.alerts(facts),
        checks=seen.checks(facts),
        damage=read_damage(facts),
        holds=changes.holds(facts),
        evidence=seen.evidence(facts),
        plans=changes.plans(facts),
        decisions=changes.decisions(facts),
        steps=changes.steps(facts),
        restored=changes.restored(facts, _lost(proofs)),
        proofs=proofs,
        clocks=(*response_clock(incident, now), *seen.clocks(facts, now)),
        messages=seen.messages(facts),
        ranges=ranges_of(facts),
    )
