"""`runbook rollback`: the history, what a rollback would do, and the request for one.

Looking needs the settings of the cluster and of the responder's database, where sightings are kept;
asking goes through the gateway under the caller's name, and the rollback is no part of this
process.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.table import Column, Table

from deployments import terminal
from deployments.console import Gateway, documented, explain_refusal, show_plan
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.errors import BadInput
from tasks.domain.plan import Proposal
from tasks.domain.release_diagnosis import diagnose
from tasks.domain.rollback_plan import way_back
from tasks.domain.rollback_wish import RollbackWish
from tasks.domain.rollout_history import CannotUndo
from tasks.domain.rollout_lines import history_lines
from tasks.domain.rollout_look import Looked
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work import rollbacks

NOBODY = "dry-run"
"""In the place of an incident: nothing is opened for a look."""

_LINE = 400
_ASKING = "whoever asks"


@dataclass(frozen=True, slots=True)
class Found:
    """A workload as it is, and the plan or why there is none. `holder`: a revision was named."""

    looked: Looked
    holder: str
    proposal: Proposal | CannotUndo


def look(workload: str | None, revision: str) -> Found:
    """Look at the workload (the settings' without one). Raises BadInput, or a ClientError."""
    site = rollbacks.site_of(settings())
    kind, name = rollbacks.workload_in(workload or site.rollback.workload)
    looked = rollbacks.looked_at(site, kind, name)
    holder = _holder(looked, revision)
    way = way_back(looked, wanted=holder)
    if isinstance(way, CannotUndo):
        return Found(looked, holder, way)
    cause, *_ = diagnose(looked, RollbackWish(looked.target, holder, _ASKING))
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    return Found(looked, holder, rollbacks.propose(site, NOBODY, cause, expires_at))


def show(found: Found, json_file: Path | None) -> int:
    """Print the history and the plan; 1 when there is no way back."""
    console = terminal.console()
    lines = history_lines(found.looked)
    table = Table(
        Column("revision", justify="right", no_wrap=True),
        Column("rolled out", no_wrap=True),
        "images",
        "change cause",
        "by",
        "what is known of it",
        box=None,
        pad_edge=False,
    )
    for each in lines:
        table.add_row(
            f"{each.number}{' *' if each.current else ''}",
            f"{each.at:%Y-%m-%d %H:%M} UTC" if each.at else "",
            ", ".join(each.images),
            each.cause,
            each.who,
            each.known,
        )
    console.print(
        f"{found.looked.target}: {visible(found.looked.status.text, _LINE)}", markup=False
    )
    console.print(table, markup=False)
    proposal = found.proposal
    if isinstance(proposal, CannotUndo):
        text = visible(proposal.text, _LINE)
        console.print(f"\nno way back: {text}", markup=False, soft_wrap=True)
    else:
        console.print()
        show_plan(proposal.plan, stands=False)
        console.print("\nlooked at, nothing changed:")
        for line in proposal.dry_run:
            console.print(f"  {visible(line, _LINE)}", markup=False, soft_wrap=True)
    terminal.write_json(json_file, _written(found))
    return BAD if isinstance(proposal, CannotUndo) else GOOD


def ask(gateway: Gateway, found: Found, reason: str) -> int:
    """Ask the responder for it; the exit code."""
    body = {"workload": found.looked.target, "holder": found.holder, "reason": reason}
    answer = gateway.post("/rollbacks", body)
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        explain_refusal(answer.value)
        return COULD_NOT_TELL
    console = terminal.console()
    with documented("an incident"):
        incident = visible(answer.value["incident"])
        joined = " (joined: it was open already)" if answer.value["joined"] else ""
    console.print(
        f"\n{incident}: rollback of {found.looked.target}{joined}; somebody else than you reads "
        f"and approves its plan: runbook approve {incident}",
        markup=False,
        soft_wrap=True,
    )
    return GOOD


def _holder(looked: Looked, revision: str) -> str:
    """The holder of the revision that was named by number or by holder; empty: none was."""
    if not revision:
        return ""
    for each in looked.revisions:
        if revision in {str(each.number), each.holder}:
            return each.holder
    known = ", ".join(str(each.number) for each in looked.revisions) or "none"
    raise BadInput(
        f"expected a revision of {looked.target} ({known}), found {visible(revision, 80)!r}"
    )


def _written(found: Found) -> dict[str, object]:
    proposal = found.proposal
    written: dict[str, object] = {
        "workload": found.looked.target,
        "status": found.looked.status.progress.value,
        "revisions": [each.as_json() for each in history_lines(found.looked)],
    }
    if isinstance(proposal, CannotUndo):
        return written | {"no_way_back": {"why": proposal.why.value, "text": proposal.text}}
    return written | {"plan": proposal.plan.as_json(), "dry_run": proposal.dry_run}
