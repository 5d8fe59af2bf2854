"""What the Prefect UI shows of an incident: names of runs, tables, a summary, the report's link.

Texts of alerts and systems are hostile: pipes, brackets and line breaks would break out of a
Markdown table or make a link, so they are taken out here.
"""

from collections.abc import Callable, Sequence

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.runtime import flow_run

from tasks.domain.ledger import Checkpoint, Verdict
from tasks.domain.observation import Observation
from tasks.domain.plan import Plan

_SHOWN = 50
_HARMLESS = str.maketrans(dict.fromkeys("\r\n\t|[]()<>`*_#!\\", " "))


def _plain(text: str) -> str:
    return text.translate(_HARMLESS)[:300]


def run_name(verb: str = "") -> Callable[[], str]:
    """Names a run after its incident; one that was started by hand without an id says so."""

    def name() -> str:
        incident = flow_run.parameters.get("incident_id") or "declared by hand"
        return f"{verb} {incident}".strip()

    return name


def show_checks(incident: str, seen: Sequence[Observation]) -> None:
    """A table of the first checks."""
    create_table_artifact(
        key=f"checks-{incident.lower()}",
        table=[
            {
                "component": one.component,
                "health": one.health.value,
                "what was seen": _plain(one.summary),
                "seconds": one.seconds,
                "runbook line": one.step,
            }
            for one in seen
        ],
        description=f"First checks of {incident}",
    )


def show_verdict(about: str, verdict: Verdict) -> None:
    """What verification found, in words and as a table of findings."""
    altered, missing = verdict.damaged()
    lines = [
        f"# The audit log is {verdict.status.value}",
        "",
        f"- {verdict.records} records of the table were hashed in {verdict.seconds:.2f} s",
        f"- signed checkpoint: size {verdict.signed}, root `{verdict.root[:16]}...`",
        f"- {altered} records altered, {missing} missing",
        *([f"- {_plain(verdict.scope)}"] if verdict.scope else []),
        "",
        "| code | source | seq | count | detail |",
        "|---|---|---|---|---|",
        *(
            f"| {one.code} | {one.source} | {one.first if one.first is not None else ''} "
            f"| {one.count} | {_plain(one.detail)} |"
            for one in verdict.findings[:_SHOWN]
        ),
    ]
    create_markdown_artifact(key=f"verdict-{about.lower()}", markdown="\n".join(lines))


def show_head(about: str, head: Checkpoint, added: int, cosigned_by: Sequence[str]) -> None:
    """A head that was sealed and proven."""
    lines = [
        f"# {_plain(head.origin)}: {head.size} records are sealed",
        "",
        f"- {added} of them are new",
        f"- root `{head.root.hex()}`",
        f"- cosigned by {_plain(', '.join(cosigned_by)) or 'nobody'}",
    ]
    create_markdown_artifact(key=f"sealed-{about.lower()}", markdown="\n".join(lines))


def show_plan(incident: str, plan: Plan) -> None:
    """The plan, step by step, with what each destroys and the hash that an approval must name."""
    lines = [
        f"# Plan of {incident}",
        "",
        _plain(plan.summary),
        "",
        "| # | step | target | destroys |",
        "|---|---|---|---|",
        *(
            f"| {number} | {_plain(step.action)} | {_plain(step.target)} "
            f"| {_plain(step.destroys)} |"
            for number, step in enumerate(plan.steps, start=1)
        ),
        "",
        f"Lost: {_plain(plan.will_be_lost)}. Expires {plan.expires_at.isoformat()}.",
        "",
        (
            f"Decide with `runbook approve {incident}` or `runbook deny {incident}`; "
            f"hash `{plan.hash}`. It cannot be approved from this page."
        ),
    ]
    create_markdown_artifact(key=f"plan-{incident.lower()}", markdown="\n".join(lines))


def link_report(incident: str, url: str) -> None:
    """The link to the post-incident report."""
    create_link_artifact(
        key=f"report-{incident.lower()}",
        link=url,
        link_text=f"Post-incident report of {incident}",
    )
