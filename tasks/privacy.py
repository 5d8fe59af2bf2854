"""The privacy engine: looked at whole, halted where releases may hurt, mended through the door."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect import task

from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_identity import is_configured
from tasks.clients.object_store import ObjectStore
from tasks.domain.causes import Cause
from tasks.domain.database_readings import known
from tasks.domain.errors import BadInput
from tasks.domain.log_templates import digest
from tasks.domain.mending import Effect, effect_on, planned_cause
from tasks.domain.observation import Health, Observation
from tasks.domain.plan import Plan, Proposal
from tasks.domain.privacy_diagnosis import diagnose
from tasks.domain.privacy_plan import CHARGE, RESET, dry_run, plan_privacy_remedy
from tasks.domain.privacy_readings import COMPONENT, PrivacyReadings
from tasks.domain.redaction import Redactor
from tasks.domain.selectors import Operator, Requirement, Selector
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import door, evidence, journal, privacy_checks, privacy_engine, privacy_looks
from tasks.work.checks import Seen, observe
from tasks.work.pod_logs import read_pod_logs
from tasks.work.privacy_looks import Site
from tasks.work.redaction import secrets_of

_OTHERS_SECONDS = 60.0
"""How long a remedy waits for another incident's change of the same target."""


def _site() -> Site:
    return privacy_looks.site_of(settings())


@task(
    name="Look at the privacy engine",
    tags={
        "runbook:privacy.symptom.budget",
        "runbook:privacy.symptom.noise",
        "runbook:privacy.symptom.anonymisation",
        "runbook:privacy.diagnosis.metrics",
        "runbook:privacy.diagnosis.parameters",
        "runbook:privacy.resolution.parameters",
        "runbook:privacy.resolution.noise",
        "runbook:privacy.resolution.anonymisation",
    },
    **READ,
)
def look_at_engine(incident: str) -> PrivacyReadings:
    """Metric, parameters, spend recomputed from the log, noise by probes, published records."""
    site = _site()
    seen = privacy_looks.looked_at(site)
    for step, check in privacy_checks.CHECKS.items():
        observe(incident, step, COMPONENT, partial(check, seen, site.limits))
    return seen


@task(name="Read the privacy engine's logs", tags={"runbook:privacy.diagnosis.logs"}, **READ)
def read_engine_logs(incident: str) -> Observation:
    """`kubectl logs -l component=privacy-engine`, of all containers, by template."""
    configured = settings()

    def probe() -> Seen:
        if not is_configured(configured.kubernetes):
            return Seen(Health.UNKNOWN, "logs not read: no cluster is configured")
        engine = Selector((Requirement("component", Operator.IN, (COMPONENT,)),))
        try:
            read = read_pod_logs(configured.kubernetes, engine)
        except (ClientError, BadInput) as error:  # the cluster's trouble is not the engine's
            return Seen(Health.UNKNOWN, f"logs not read: {error}")
        found = digest(read.lines, redact=Redactor(secrets_of(configured)))
        where = {"containers": read.sources, "containers_read": read.read}
        if not read.lines:
            return Seen(Health.UNKNOWN, "the engine's pods have logged nothing", where)
        text = f"{found.lines} lines of {read.read} containers, {found.kinds} kinds"
        loud = found.levels.keys() & {"fatal", "error"}
        health = Health.DEGRADED if loud else Health.HEALTHY
        return Seen(health, text, {**found.as_json(), **where})

    return observe(incident, "privacy.diagnosis.logs", COMPONENT, probe)


def diagnose_engine(seen: PrivacyReadings) -> tuple[Cause, ...]:
    """Ranked causes of what was seen, by the bounds of the settings. Not a task: it is pure."""
    return diagnose(seen, _site().limits)


@task(name="Halt releases", tags={"runbook:privacy.resolution.halt"}, **CHANGE)
def halt_releases(incident: str, causes: Sequence[Cause]) -> bool:
    """Refuse every release, for each cause that is proven; whether the engine really does."""
    site = _site()
    refused = [privacy_engine.halt(site, incident, cause) for cause in causes]
    return all(refused)


@task(name="Plan the remedy", **READ)
def plan_remedy(incident: str, cause: Cause, seen: PrivacyReadings) -> Proposal:
    """What is retired or charged, and why nothing is reset."""
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = plan_privacy_remedy(incident, cause, expires_at)
    site = _site()
    halted = privacy_engine.is_halted(site)
    causes = diagnose(seen, site.limits)
    return Proposal(plan, dry_run(causes, seen.unread(), plan, halted=halted))


@contextmanager
def remedy_door(incident: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock, and that what was planned against is still so."""
    site = _site()
    store = ObjectStore(settings().store)
    plan = journal.read(incident).plan
    target = plan.steps[0].target if plan is not None else privacy_looks.ENGINE_TARGET

    with door.opened(
        incident,
        target,
        observe=lambda: privacy_engine.planned_state(site, journal.read(incident)),
        evidence_holds=lambda hold: evidence.stands(store, hold),
        wait_seconds=_OTHERS_SECONDS,
    ) as passage:
        yield passage


@task(name="Open a new epoch", tags={"runbook:privacy.resolution.reset"}, **CHANGE)
def open_epoch(passage: door.Passage) -> dict[str, Any]:
    """Retire what is overspent, for good; count anew only for data that was never released."""
    return _change(passage, RESET, privacy_engine.open_epoch)


@task(name="Charge what was released", tags={"runbook:privacy.resolution.charge"}, **CHANGE)
def charge_spends(passage: door.Passage) -> dict[str, Any]:
    """Raise the ledger of spends to what the log proves, so that less is left."""
    return _change(passage, CHARGE, privacy_engine.charge)


_Act = Callable[[Site, Plan | None, Callable[[], None]], tuple[str, dict[str, Any]]]


def _change(passage: door.Passage, step: str, how: _Act) -> dict[str, Any]:
    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        return how(_site(), journal.read(passage.incident).plan, fence)

    return passage.carry_out(step, act)


@task(name="Look again", tags={"runbook:privacy.verify"}, **READ)
def look_again(incident: str) -> Effect:
    """The same look and the same diagnosis as before, until the planned cause is gone."""
    code = planned_cause(journal.read(incident).plan)
    causes, seen = privacy_engine.still_there(_site(), code)
    spending = known(seen.spending)
    return effect_on(code, causes, "" if spending else seen.unread().get("spending", "unknown"))
