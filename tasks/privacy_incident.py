"""Data privacy incidents: measured, drafted, contained; what is decided, a person decides."""

from collections.abc import Mapping
from typing import Any

from prefect import task

from tasks.domain.observation import Health, Observation
from tasks.domain.privacy_scope import Scope
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import privacy_engine, privacy_incidents, privacy_looks
from tasks.work.checks import Seen, observe

COMPONENT = "privacy"

_CODE = "exposure"
_EXPOSED = "personal data may be exposed: no release before a person has looked and lifts this"


@task(name="Assess the exposure", tags={"runbook:privacy-incident.scope"}, **READ)
def assess_scope(incident: str) -> Scope:
    """Records, tables, time window and kinds of data, and ENISA's severity as assumed."""
    return privacy_incidents.measure(settings(), incident)


@task(name="Count affected individuals", tags={"runbook:privacy-incident.individuals"}, **READ)
def document_individuals(incident: str, scope: Scope) -> Observation:
    """Distinct annotators, by pseudonym: how many, in which tables; nobody is named anywhere."""

    def probe() -> Seen:
        by_table = {part.table: part.people for part in scope.parts}
        evidence = {"by_table": by_table, "fingerprint": scope.fingerprint}
        if scope.people is None:
            why = "; ".join(scope.unmeasured)
            return Seen(Health.UNKNOWN, f"how many people are concerned is UNKNOWN: {why}")
        text = f"{scope.number(scope.people)} people, counted by pseudonym over all tables"
        return Seen(Health.DEGRADED if scope.people else Health.HEALTHY, text, evidence)

    return observe(incident, "privacy-incident.individuals", COMPONENT, probe)


@task(name="Prepare the notifications", tags={"runbook:privacy-incident.notifications"}, **READ)
def prepare_notifications(incident: str) -> list[Mapping[str, Any]]:
    """Start the legal clocks and draft a notice for each, every field of it filled or UNKNOWN."""
    return [fact.data for fact in privacy_incidents.settle(incident)]


@task(name="Contain it", tags={"runbook:privacy-incident.containment"}, **CHANGE)
def contain(incident: str) -> Observation:
    """Refuse every release of private data, by a hold and by the engine; the rest is a person's.

    It needs no approval and passes every hold: it stops, destroys nothing, and is taken back by a
    person who lifts the hold.
    """

    def probe() -> Seen:
        if not settings().privacy_incident.halt_releases:
            return Seen(Health.UNKNOWN, "releases are not halted: the settings say so")
        site = privacy_looks.site_of(settings())
        refuses, text = privacy_engine.refuse_releases(site, incident, _CODE, _EXPOSED)
        return Seen(Health.HEALTHY if refuses else Health.FAILED, text)

    return observe(incident, "privacy-incident.containment", COMPONENT, probe)
