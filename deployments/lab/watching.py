"""The journal, fact by fact, on the terminal: the response before the reader's eyes."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

from rich.console import Console
from rich.text import Text

from tasks.domain.facts import Fact, FactKind
from tasks.domain.holds import PERSONS_LIFT
from tasks.domain.untrusted import visible
from tasks.work import journal

POLL_SECONDS = 0.1
_WIDTH = 240
_STYLES = {
    FactKind.ALERT_RECEIVED: "bold red",
    FactKind.DIAGNOSED: "bold red",
    FactKind.CAUSES_FOUND: "bold red",
    FactKind.SEVERITY_ASSIGNED: "bold",
    FactKind.HOLD_SET: "yellow",
    FactKind.EVIDENCE_SEALED: "yellow",
    FactKind.PLAN_PROPOSED: "bold cyan",
    FactKind.PLAN_DECIDED: "bold cyan",
    FactKind.STEP_DONE: "green",
    FactKind.VERIFIED: "bold green",
    FactKind.CLOSED: "bold green",
    FactKind.STEP_FAILED: "bold red",
    FactKind.NOTIFY_FAILED: "red",
}

_SAID: dict[FactKind, Callable[[Fact], str]] = {
    FactKind.OPENED: lambda fact: f"{fact.incident}: {fact.data['title']}",
    FactKind.ALERT_RECEIVED: lambda fact: f"{fact.data['name']}, stored before its 2xx",
    FactKind.RUN_STARTED: lambda fact: f"Prefect flow run {fact.data['flow_run']}",
    FactKind.CHECK_OBSERVED: lambda fact: (
        f"{fact.data['component']}: {fact.data['health']}, {fact.data['summary']}"
    ),
    FactKind.CLOCK_STARTED: lambda fact: f"{fact.data['clock']}, due {fact.data['due']}",
    FactKind.SEVERITY_ASSIGNED: lambda fact: f"{fact.data['severity']}: {fact.data['reason']}",
    FactKind.DIAGNOSED: lambda fact: (
        f"{fact.data['verdict']}: {fact.data['altered']} records altered, "
        f"{fact.data['missing']} missing, {fact.data['records']} hashed in "
        f"{fact.data['seconds']:.2f} s"
    ),
    FactKind.CAUSES_FOUND: lambda fact: (
        "; ".join(f"{one['code']} ({one['confidence']})" for one in fact.data["causes"])
        or "no cause found"
    ),
    FactKind.HOLD_SET: lambda fact: (
        f"no change of {fact.data['scope']} before "
        + (PERSONS_LIFT if fact.data.get("needs") == PERSONS_LIFT else "evidence is sealed")
    ),
    FactKind.EVIDENCE_SEALED: lambda fact: (
        f"{len(fact.data['items'])} objects under Object Lock in {fact.data['bucket']}"
    ),
    FactKind.TARGET_CHOSEN: lambda fact: (
        f"restore to {fact.data['target']['target']}: {fact.data['reason']}"
    ),
    FactKind.ROLLBACK_ASKED: lambda fact: f"{fact.data['workload']}: {fact.data['reason']}",
    FactKind.CHANGE_ASKED: lambda fact: f"{fact.data['wanted']}: {fact.data['reason']}",
    FactKind.PLAN_PROPOSED: lambda fact: (
        f"hash {fact.data['hash'][:12]}, lost: {fact.data['plan']['will_be_lost']}"
    ),
    FactKind.DRY_RUN: lambda fact: f"{len(fact.data['lines'])} steps looked at, none carried out",
    FactKind.PLAN_DECIDED: lambda fact: f"{fact.data['decision']}: {fact.data['reason']}",
    FactKind.STEP_STARTED: lambda fact: f"{fact.data['step']} on {fact.data['target']}",
    FactKind.STEP_DONE: lambda fact: f"{fact.data['summary']}",
    FactKind.STEP_FAILED: lambda fact: f"{fact.data['step']}: {fact.data['error']}",
    FactKind.VERIFIED: lambda fact: f"{fact.data['summary']}",
    FactKind.NOTIFIED: lambda fact: f"{fact.data['audience']} in {fact.data['channel']}",
    FactKind.NOTIFY_FAILED: lambda fact: f"{fact.data['audience']}: {fact.data['error']}",
    FactKind.STATUS_DRAFTED: lambda fact: f"{fact.data['draft']['subject']}, not public yet",
    FactKind.ESCALATED: lambda fact: f"{fact.data['to']}: {fact.data['reason']}",
    FactKind.REPORTED: lambda fact: f"{fact.data['html']['path']}",
    FactKind.CLOSED: lambda fact: f"{fact.data['outcome']}: {fact.data['summary']}",
    FactKind.NOTE: lambda fact: f"{fact.data['text']}",
}


def new_facts(timeout_seconds: float) -> Iterator[Fact]:
    """Facts of all incidents as they are journaled, until the time is over."""
    seen = -1
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        facts = journal.facts_after(seen)
        for fact in facts:
            seen = fact.seq
            yield fact
        if not facts:
            time.sleep(POLL_SECONDS)


def show(console: Console, fact: Fact, since: datetime | None) -> None:
    """One line: time, seconds since the alert, what, and by whom when a person did it."""
    said = _SAID.get(fact.kind)
    text = visible(said(fact) if said else fact.data.get("summary", ""), _WIDTH)
    elapsed = f"{(fact.at - since).total_seconds():+7.2f} s" if since else " " * 9
    who = "" if fact.actor == "runbook" else f"  [{visible(fact.actor, 60)}]"
    line = Text(f"{fact.at:%H:%M:%S.%f}"[:12] + f" {elapsed}  ")
    line.append(f"{fact.kind.value:18}", style=_STYLES.get(fact.kind, "dim"))
    line.append(f" {text}{who}")
    console.print(line, soft_wrap=True)
    if fact.kind is FactKind.PLAN_PROPOSED:
        for number, step in enumerate(fact.data["plan"]["steps"], start=1):
            text = f"{number}. {step['action']}; destroys {step['destroys']}"
            console.print(Text(f"{'':43}{visible(text, _WIDTH)}", style="cyan"), soft_wrap=True)
