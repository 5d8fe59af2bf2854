"""`runbook demo` and `runbook up`: the whole response, before the reader's eyes."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr
from rich.console import Console

from deployments import console as people_console
from deployments import terminal
from deployments.exits import BAD, GOOD
from deployments.lab import judging, outcome, watching
from deployments.lab.alarm import Alarm, raise_alarm
from deployments.lab.errors import LabError
from deployments.lab.faults import FAULTS, Damage, Fault
from deployments.lab.stack import APPROVER, Lab
from deployments.lab.stack import Options as LabOptions
from deployments.lab.state import private_file
from deployments.lab.writer import longest_gap
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput, Refused
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.settings import settings
from tasks.work import journal, table_verification
from tasks.work.log_store import ObjectLog

_RESPONSE_SECONDS = 300.0
_TAIL_SECONDS = 1.0  # before the damage: so that some records are newer than the last seal
_CHECKED_PER_SECOND = 10_000  # by the patient itself, so that its monitoring sees damage at once
_SETTLE_SECONDS = 1.0  # after the swap: so that the writer is seen to go on


@dataclass(frozen=True, slots=True)
class Options:
    """What `runbook demo` was asked for."""

    scenario: str
    yes: bool
    records: int
    seed: int
    reports: Path
    stay: bool
    json_file: Path | None


def scenarios() -> dict[str, str]:
    """Names and one line each."""
    return {name: fault.description for name, fault in FAULTS.items()}


def run(options: Options) -> int:
    """Start, damage, alert, watch, judge, report, stop; the exit code."""
    fault = FAULTS.get(options.scenario)
    if fault is None:
        known = ", ".join(sorted(FAULTS))
        raise BadInput(f"expected a scenario of {known}, found {options.scenario!r}")
    console = terminal.console()
    began = time.monotonic()
    with _lab(console, options.records, options.seed, options.reports) as lab:
        _addresses(console, lab)
        time.sleep(_TAIL_SECONDS)
        damage = fault.inject(lab)
        damaged = time.monotonic()
        console.print(f"\n[bold red]Damage[/]  {fault.description}")
        alarm = raise_alarm(lab, fault, damaged)
        console.print(f"[bold red]Alert[/]   {alarm}\n")
        incident = _watch(console, lab, fault, approve=options.yes)
        judged = _judge(lab, incident, damage, alarm, began)
        outcome.show(console, judged)
        terminal.write_json(options.json_file, judged.as_json())
        if options.stay:
            console.print("\nEverything keeps running until Ctrl-C.")
            _until_interrupted()
    return GOOD if judged.proof_holds else BAD


def up(*, records: int, reports: Path) -> int:
    """The embedded system, gateway and Prefect UI until Ctrl-C."""
    console = terminal.console()
    with _lab(console, records, LabOptions().seed, reports) as lab:
        _addresses(console, lab)
        console.print("\nRunning until Ctrl-C.")
        _until_interrupted()
    return GOOD


def _lab(console: Console, records: int, seed: int, reports: Path) -> Lab:
    options = LabOptions(
        records=records,
        seed=seed,
        reports=reports.resolve(),
        alerting=True,
        checked_per_second=_CHECKED_PER_SECOND,
    )
    return Lab(options, progress=lambda line: console.print(f"  {line}", markup=False))


def _addresses(console: Console, lab: Lab) -> None:
    console.print()
    console.print(f"Prefect UI   {lab.prefect_url}")
    console.print(f"gateway      {lab.gateway_url}")
    console.print(f"as a person  {_as_person(lab)}", soft_wrap=True)


def _as_person(lab: Lab) -> str:
    """Options of `runbook incidents`, `approve` and so on: the approver's token is in a file."""
    file = lab.path / "approver.token"
    if not file.exists():
        private_file(file, lab.people[APPROVER] + "\n")
    return f"--gateway {lab.gateway_url} --token-file {file}"


def _until_interrupted() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _watch(console: Console, lab: Lab, fault: Fault, *, approve: bool) -> Incident:
    """Show every fact until the fault's incident is closed and reported, or the time is over.

    Others may begin beside it, by what the monitoring says of the recovery; they are shown too.
    """
    since = None
    incident = ""
    told = False
    for fact in watching.new_facts(_RESPONSE_SECONDS):
        if fact.kind is FactKind.ALERT_RECEIVED and since is None:
            since = fact.at
        if fact.kind is FactKind.ALERT_RECEIVED and fact.data["name"] == fault.labels["alertname"]:
            incident = incident or fact.incident
        watching.show(console, fact, since)
        if fact.incident != incident:
            continue
        if fact.kind is FactKind.PLAN_PROPOSED and approve:
            _approve(lab, incident, fact.data["hash"])
        elif fact.kind is FactKind.DRY_RUN and not approve and not told:
            told = True
            line = f"runbook approve {incident} {_as_person(lab)}"
            console.print(f"\n  {line}\n", markup=False, soft_wrap=True)
        if fact.kind is FactKind.REPORTED:
            break
    return journal.read(incident)


def _approve(lab: Lab, incident: str, plan_hash: str) -> None:
    """The simulated person's yes, through the same authenticated endpoint as everybody's."""
    if not settings().lab:
        raise Refused("expected the embedded stack, found other settings: --yes is for the lab")
    gateway = people_console.Gateway(lab.gateway_url, SecretStr(lab.people[APPROVER]))
    answer = gateway.post(
        f"/incidents/{incident}/plans/{plan_hash}/approve",
        {"reason": "approved by the demo, no person has read the plan"},
    )
    if answer.status != httpx.codes.OK:
        raise Refused(f"expected the gateway to take the approval, found {answer.value}")


def _seal_again(lab: Lab) -> int | None:
    """The sealer signs only what continues its last head, so that it signs is a proof."""
    try:
        return lab.seal_now()
    except LabError:
        return None


def _judge(
    lab: Lab, incident: Incident, damage: Damage, alarm: Alarm, began: float
) -> outcome.Judged:
    """Look at what is there now, without asking the response."""
    memory = lab.memory_bytes()
    time.sleep(_SETTLE_SECONDS)
    lab.writer.stop()
    records = lab.writer.acknowledged()
    accounted = judging.account_for(records, lab.reader_dsn)
    findings = (incident.diagnosis or {}).get("findings", [])
    unnamed, misnamed = judging.unnamed_and_misnamed(damage, lab.sealed_size, findings)
    resealed = _seal_again(lab)
    store = settings().store
    verdict = table_verification.verify_table(
        lab.reader_dsn,
        ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix),
        settings().ledger.read_trust(),
    )
    return outcome.Judged(
        incident=incident,
        alarm=alarm,
        accounted=accounted,
        unnamed=unnamed,
        misnamed=misnamed,
        verified_again=verdict.status is Status.VERIFIED,
        resealed=resealed,
        longest_gap=longest_gap(records),
        memory_bytes=memory,
        total_seconds=time.monotonic() - began,
    )
