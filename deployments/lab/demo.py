"""`runbook demo` and `runbook up`: the whole response, before the reader's eyes."""

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from deployments import terminal
from deployments.exits import BAD, GOOD
from deployments.lab import expectations, judging, outcome, watching
from deployments.lab.alarm import Alarm, raise_alarm
from deployments.lab.errors import LabError
from deployments.lab.expectations import Situation
from deployments.lab.on_call import OnCall
from deployments.lab.scenarios import SCENARIOS, Scenario, options_for
from deployments.lab.stack import APPROVER, Lab
from deployments.lab.stack import Options as LabOptions
from deployments.lab.state import private_file
from deployments.lab.writer import longest_gap
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.settings import settings
from tasks.work import journal, table_verification
from tasks.work.log_store import ObjectLog

_RESPONSE_SECONDS = 300.0
TAIL_SECONDS = 1.0  # before the damage: so that some records are newer than the last seal
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
    return {name: scenario.fault.description for name, scenario in SCENARIOS.items()}


def run(options: Options) -> int:
    """Start, damage, alert, watch, judge, report, stop; the exit code."""
    scenario = SCENARIOS.get(options.scenario)
    if scenario is None:
        known = ", ".join(sorted(SCENARIOS))
        raise BadInput(f"expected a scenario of {known}, found {options.scenario!r}")
    console = terminal.console()
    began = time.monotonic()
    wanted = LabOptions(
        records=options.records, seed=options.seed, **options_for(scenario, options.records)
    )
    with lab_of(console, wanted, options.reports) as lab:
        _addresses(console, lab)
        time.sleep(TAIL_SECONDS)
        damage = scenario.fault.inject(lab)
        damaged = time.monotonic()
        console.print(f"\n[bold red]Damage[/]  {scenario.fault.description}")
        alarm = raise_alarm(lab, scenario.fault, damaged)
        console.print(f"[bold red]Alert[/]   {alarm}\n")
        on_call = OnCall(lab, damage)
        incident = _watch(console, scenario, on_call, approve=options.yes)
        judged = judge(scenario, on_call, incident, alarm, began)
        outcome.show(console, judged)
        terminal.write_json(options.json_file, judged.as_json())
        if options.stay:
            console.print("\nEverything keeps running until Ctrl-C.")
            _until_interrupted()
    return GOOD if judged.proof_holds else BAD


def up(*, records: int, reports: Path) -> int:
    """The embedded system, gateway and Prefect UI until Ctrl-C."""
    console = terminal.console()
    with lab_of(console, LabOptions(records=records), reports) as lab:
        _addresses(console, lab)
        console.print("\nRunning until Ctrl-C.")
        _until_interrupted()
    return GOOD


def lab_of(console: Console, wanted: LabOptions, reports: Path, *, alerting: bool = True) -> Lab:
    """A lab, not started, whose monitoring raises alarms and sees damage quickly."""
    checked = wanted.checked_per_second and _CHECKED_PER_SECOND
    options = replace(
        wanted, reports=reports.resolve(), alerting=alerting, checked_per_second=checked
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


def _watch(console: Console, scenario: Scenario, on_call: OnCall, *, approve: bool) -> Incident:
    """Show every fact until the fault's incident is closed and reported, or the time is over.

    Others may begin beside it, by what the monitoring says of the recovery; they are shown too.
    """
    since = None
    incident = ""
    told = False
    alert = scenario.fault.labels["alertname"]
    for fact in watching.new_facts(_RESPONSE_SECONDS):
        if fact.kind is FactKind.ALERT_RECEIVED and since is None:
            since = fact.at
        if fact.kind is FactKind.ALERT_RECEIVED and fact.data["name"] == alert:
            incident = incident or fact.incident
        watching.show(console, fact, since)
        if fact.incident != incident:
            continue
        scenario.act(on_call, fact)
        if fact.kind is FactKind.PLAN_PROPOSED and approve:
            if on_call.is_what_was_asked_for(fact.data["plan"]):
                on_call.approve(incident, fact.data["hash"])
        elif fact.kind is FactKind.DRY_RUN and not approve and not told:
            told = True
            line = f"runbook approve {incident} {_as_person(on_call.lab)}"
            console.print(f"\n  {line}\n", markup=False, soft_wrap=True)
        if fact.kind is FactKind.REPORTED or (scenario.stays_open and "ended_plan" in fact.data):
            break
    return journal.read(incident)


def _seal_again(lab: Lab) -> int | None:
    """The sealer signs only what continues its last head, so that it signs is a proof."""
    try:
        return lab.seal_now()
    except LabError:
        return None


def judge(
    scenario: Scenario,
    on_call: OnCall,
    incident: Incident,
    alarm: Alarm,
    began: float,
) -> outcome.Judged:
    """Look at what is there now, without asking the response."""
    lab = on_call.lab
    memory = lab.memory_bytes()
    time.sleep(_SETTLE_SECONDS)
    lab.writer.stop()
    records = lab.writer.acknowledged()
    findings = (incident.diagnosis or {}).get("findings", [])
    unnamed, misnamed = judging.unnamed_and_misnamed(on_call.damage, lab.sealed_size, findings)
    accounted = judging.account_for(records, lab.reader_dsn)
    resealed = _seal_again(lab)
    store = settings().store
    verdict = table_verification.verify_table(
        lab.reader_dsn,
        ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix),
        settings().ledger.read_trust(),
    )
    situation = Situation(
        lab=lab,
        incident=incident,
        on_call=on_call,
        accounted=accounted,
        unnamed=unnamed,
        misnamed=misnamed,
        verified_again=verdict.status is Status.VERIFIED,
        resealed=resealed,
        damage_stays=scenario.damage_stays,
    )
    checks = (*expectations.of_each(situation), *scenario.expect(situation))
    return outcome.Judged(
        scenario=scenario.fault.name,
        situation=situation,
        alarm=alarm,
        checks=checks,
        longest_gap=longest_gap(records),
        memory_bytes=memory,
        total_seconds=time.monotonic() - began,
    )
