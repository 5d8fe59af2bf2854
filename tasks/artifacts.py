"""What the Prefect UI shows of an incident: names of runs, tables, a summary, the report's link.

Texts of alerts and systems are hostile: pipes, brackets and line breaks would break out of a
Markdown table or make a link, so they are taken out here.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.runtime import flow_run

from tasks.domain.drawing import for_print
from tasks.domain.drill_trend import trend
from tasks.domain.drills import DrillResult
from tasks.domain.ledger import Checkpoint, Verdict
from tasks.domain.log_rebuild import ranges_in_words
from tasks.domain.observation import Observation
from tasks.domain.plan import Plan
from tasks.domain.refusal_plot import refusal_plot
from tasks.work.log_recovery import Recovery

_SHOWN = 50
_NOTICE_ROWS = 300
_HARMLESS = str.maketrans(dict.fromkeys("\r\n\t|[]()<>`*_#!\\", " "))


def _plain(text: str, limit: int = 300) -> str:
    return text.translate(_HARMLESS)[:limit]


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


def show_recovery(recovery: Recovery) -> None:
    """A recovered audit log: what was fetched, put right and refused, and what is lost."""
    done, mends = recovery.mirrored, recovery.mends
    lost = ranges_in_words(mends.lost) if mends.lost else f"{len(mends.lost_files)} files"
    lines = [
        f"# Audit log recovery: {recovery.ending.value}",
        "",
        f"- {_plain(str(recovery.source))} into {_plain(str(recovery.target))}",
        f"- {done.fetched} objects fetched ({done.fetched_bytes} bytes), {done.unchanged} kept",
        f"- {len(mends.put)} files put right from older versions or the table",
        f"- lost: {lost if mends.lost or mends.lost_files else 'nothing that is known of'}",
        f"- {done.refused_count} keys refused, {len(done.failed)} objects not brought",
        f"- {_plain(recovery.reason)}",
        "",
        "| file | why | from |",
        "|---|---|---|",
        *(
            f"| {_plain(each.path)} | {_plain(each.why)} | {_plain(each.source)} |"
            for each in mends.put[:_SHOWN]
        ),
        *(
            f"| {_plain(ascii(each.key))} | refused: {each.why.value} | |"
            for each in done.refused[:_SHOWN]
        ),
    ]
    create_markdown_artifact(key="audit-log-recovery", markdown="\n".join(lines))


def show_drill(result: DrillResult, known: Sequence[DrillResult]) -> None:
    """A restore drill in words, and all drills so far (oldest first) as a plot and a table."""
    lines = [
        f"# The {result.choice.value} backup: {result.ending.value}",
        "",
        f"- {_plain(result.summary())}",
        *([f"- drawn with the seed `{result.seed}`"] if result.seed else []),
        f"- {result.records} records of the backup, {result.altered} altered or taken out",
        f"- {result.added} more from sealed segments",
        f"- RPO is against the {result.rpo.against.value}",
        *([f"- {len(result.notes)} notes in the journal"] if result.notes else []),
        "",
        "| phase | seconds |",
        "|---|---|",
        *(f"| {phase.value} | {seconds:.2f} |" for phase, seconds in result.phases),
        f"| RTO | {result.rto:.2f} |",
    ]
    create_markdown_artifact(key=f"drill-{result.choice.value}", markdown="\n".join(lines))
    create_table_artifact(
        key="drills", table=[_drill_row(each) for each in known[::-1]], description="Restore drills"
    )
    if plot := for_print(trend(known)):
        create_image_artifact(
            key="drills-trend",
            image_url=f"data:image/svg+xml;base64,{b64encode(plot.encode()).decode()}",
            description="RTO and RPO of restore drills",
        )


def _drill_row(drill: DrillResult) -> dict[str, object]:
    return {
        "at": f"{drill.at:%Y-%m-%d %H:%M} UTC",
        "backup": _plain(drill.key),
        "chosen": drill.choice.value,
        "result": drill.ending.value,
        "RTO (s)": round(drill.rto, 1),
        "RPO (s)": None if drill.rpo.seconds is None else round(drill.rpo.seconds),
        "phase": drill.during.value if drill.during else "",
    }


def show_plan(incident: str, plan: Plan) -> None:
    """The plan, step by step, with what each destroys and the hash that an approval must name."""
    lines = [
        f"# Plan of {incident}",
        "",
        _plain(plan.summary, 1000),
        "",
        "| # | step | target | destroys |",
        "|---|---|---|---|",
        *(
            f"| {number} | {_plain(step.action)} | {_plain(step.target)} "
            f"| {_plain(step.destroys)} |"
            for number, step in enumerate(plan.steps, start=1)
        ),
        "",
        f"Lost: {_plain(plan.will_be_lost, 1000)}. Expires {plan.expires_at.isoformat()}.",
        "",
        (
            f"Decide with `runbook approve {incident}` or `runbook deny {incident}`; "
            f"hash `{plan.hash}`. It cannot be approved from this page."
        ),
    ]
    create_markdown_artifact(key=f"plan-{incident.lower()}", markdown="\n".join(lines))


def show_notices(incident: str, drafts: Sequence[Mapping[str, Any]]) -> None:
    """Drafts of notices, field by field; none is sent from here."""
    table = [
        {
            "notice": _plain(str(draft["title"])),
            "to": _plain(str(draft["recipient"])),
            "due": _plain(str(draft["due"] or "without undue delay, or not running yet")),
            "field": _plain(str(entry["field"])),
            "stands": _plain(str(entry["filled"])),
            "text": _plain(str(entry["text"]), 600),
        }
        for draft in drafts
        for entry in draft["entries"]
    ]
    create_table_artifact(
        key=f"notices-{incident.lower()}",
        table=table[:_NOTICE_ROWS],
        description=f"Drafts of notices of {incident}, not sent",
    )


def show_investigation(
    incident: str, found: Mapping[str, Any], refusals: Sequence[tuple[datetime, int]]
) -> None:
    """Who was refused or acted suspiciously, by address, and refusals over time."""
    create_table_artifact(
        key=f"access-{incident.lower()}",
        table=[
            {
                "actor": _plain(str(each["actor"])),
                "what it looks like": _plain("; ".join(each["patterns"])),
                "requests": each["requests"],
                "refused": each["refused"],
                "let in after": each["let_in_after"],
                "accounts tried": each["accounts"],
                "first": each["first"],
                "last": each["last"],
                "paths": _plain(", ".join(each["paths"])),
            }
            for each in found["actors"]
        ],
        description=(
            f"Access logs of {incident}: {found['requests']} requests, {found['refused']} refused, "
            f"{found['suspects']} suspicious actors"
        ),
    )
    if plot := for_print(refusal_plot(refusals)):
        create_image_artifact(
            key=f"refusals-{incident.lower()}",
            image_url=f"data:image/svg+xml;base64,{b64encode(plot.encode()).decode()}",
            description=f"Refused requests (401, 403) around {incident}",
        )


def link_report(incident: str, url: str) -> None:
    """The link to the post-incident report."""
    create_link_artifact(
        key=f"report-{incident.lower()}",
        link=url,
        link_text=f"Post-incident report of {incident}",
    )
