"""What proves the sealed audit log: surveyed, put back through the door, proven again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task

from tasks.clients.errors import NotFound
from tasks.clients.object_store import ObjectStore
from tasks.domain import rebuild_plan
from tasks.domain.damage import read_damage
from tasks.domain.errors import NotProven, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.log_rebuild import MAX_RUNS, Range, merged
from tasks.domain.plan import Plan
from tasks.domain.proofs import SEALED
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import door, evidence, journal, rebuild_order
from tasks.work.log_store import ObjectLog
from tasks.work.reproving import Reproved, prove_again
from tasks.work.sealed_logs import LogName, place_of, trust_of


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with its dry run; without one, `reason` says why not (empty: nothing is damaged)."""

    plan: Plan | None
    dry_run: list[str]
    reason: str = ""


@task(name="Survey the sealed log", **READ)
def plan_rebuild(incident: str) -> Proposal:
    """Look through all that proves the log, and say what can be put back exactly."""
    try:
        seen = rebuild_order.look(settings())
    except (NotProven, NotFound) as error:
        return Proposal(None, [], str(error))
    done = rebuild_plan.rebuilds(journal.read(incident))
    found = rebuild_plan.without_what_lies_beside(seen, _aside(done))
    lines = rebuild_plan.dry_run(found)
    if len(found.objects) < len(seen.objects):
        where = ", ".join(sorted({str(each["beside"]) for each in done if each.get("beside")}))
        lines.append(
            f"left for a person: {len(seen.objects) - len(found.objects)} damaged objects stay, "
            "because the bucket keeps no versions; their right copies, proven, lie under "
            f"{where}: keep the damaged ones as evidence, then copy the right ones over"
        )
    if not found.objects:
        return Proposal(None, lines, "" if seen.is_whole else "; ".join(lines[3:]))
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    return Proposal(rebuild_plan.plan_log_rebuild(incident, found, expires_at), lines)


@contextmanager
def rebuild_door(incident: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock, and that nothing is damaged which the plan does not name."""
    store = ObjectStore(settings().store)

    def observe() -> dict[str, Any]:
        plan = journal.read(incident).plan
        if plan is None:
            raise PlanStale("expected the approved plan, found none: make a new one")
        aside = _aside(rebuild_plan.rebuilds(journal.read(incident)))
        found = rebuild_plan.without_what_lies_beside(rebuild_order.look(settings()), aside)
        fits = rebuild_plan.still_fits(plan, found)
        if fits:
            return dict(plan.observed)
        return {
            "objects": found.runs,
            "mode": found.mode.value,
            "consistency": found.consistency.value,
        }

    with door.opened(
        incident,
        rebuild_plan.TARGET,
        observe=observe,
        evidence_holds=lambda hold: evidence.stands(store, hold),
    ) as passage:
        yield passage


@task(name="Rebuild the Merkle tree", tags={"runbook:audit.resolution.rebuild"}, **CHANGE)
def rebuild_tree(passage: door.Passage) -> dict[str, Any]:
    """The sealer puts back what the plan names, as the signed root proves it; signs no head."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        plan = journal.read(passage.incident).plan
        if plan is None:
            raise PlanStale("expected the approved plan, found none: make a new one")
        fence()
        result = rebuild_order.order_rebuild(
            passage.incident,
            rebuild_plan.planned_objects(plan),
            rebuild_plan.planned_mode(plan),
            settings(),
        )
        text = (
            f"{result['put_back']} objects of the sealed log put back as they were signed"
            f"{_where(result)}; "
            f"old tree and signed tree: {result.get('consistency', 'nothing was to do')}"
        )
        return text, result

    return passage.carry_out(rebuild_plan.REBUILD, act)


@task(name="Make the proofs again", tags={"runbook:audit.resolution.proofs"}, **READ)
def remake_proofs(incident: str) -> Reproved:
    """Proofs of the affected records, and from older heads, from the tiles as they are now.

    Raises NotProven when one does not hold.
    """
    known = settings()
    log = ObjectLog(ObjectStore(known.store), *place_of(LogName.AUDIT, known))
    proven = prove_again(log, trust_of(LogName.AUDIT, known), _affected(incident))
    journal.append(
        incident,
        FactKind.NOTE,
        {"text": str(proven), "proofs": proven.as_json()},
        key=f"proofs:{proven.size}:{proven.affected}",
    )
    return proven


def _affected(incident: str) -> tuple[Range, ...]:
    """Records that were damaged, and those whose lines or proofs were put back."""
    state = journal.read(incident)
    damage = read_damage(state.facts)
    found: list[Range] = [
        (row.first, row.first + row.count) for row in damage.against if row.first is not None
    ]
    for result in rebuild_plan.rebuilds(state):
        found += [(int(first), int(end)) for first, end in result.get("affected", ())]
    return merged(found)


def _aside(done: list[dict[str, Any]]) -> list[str]:
    """The newest runs of objects whose right copies lie beside; no more than an order may name."""
    return [str(run) for each in reversed(done) for run in each.get("aside", ())][:MAX_RUNS]


def _where(result: dict[str, Any]) -> str:
    return (
        f", what was not missing beside it, under {result['beside']}"
        if result.get("beside")
        else ""
    )


@task(name="Record the rebuild's proof", **READ)
def record_rebuilt(incident: str, proofs: Reproved) -> str:
    """The log is verified again, after the sealer has put back what proves it; one line."""
    state = journal.read(incident)
    done = rebuild_plan.rebuilds(state)
    earlier = state.proof if state.proof and state.proof.get("holds") else {}
    result = {
        **earlier.get("result", {}),  # of the restored table, if there was a restore
        **(done[-1] if done else {}),
        "proofs": proofs.as_json(),
    }
    text = (
        f"the sealed log proves its {proofs.size} records again; "
        f"{sum(each.get('put_back', 0) for each in done)} objects were put back"
    )
    fact = {"what": SEALED, "holds": True, "summary": text, "result": result}
    journal.append(incident, FactKind.VERIFIED, fact)
    return text
