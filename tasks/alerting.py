"""Questions to Alertmanager."""

from functools import partial

from prefect import task

from tasks.clients import alertmanager
from tasks.clients.errors import ClientError
from tasks.domain.observation import Health, Observation
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.at_once import at_once
from tasks.work.checks import GRACE, Seen, observe

_SHOWN = 20
_NAMED = 2


@task(name="Check silences", tags={"runbook:triage.silences"}, **READ)
def check_silences(incident: str) -> Observation:
    """Which alerts fire and are hidden: a silence of yesterday may hide the alert of today."""

    def probe() -> Seen:
        configured = settings().alertmanager
        if not configured.urls:
            return Seen(Health.UNKNOWN, "silences unknown: no Alertmanager is configured")
        looks = {url: partial(alertmanager.hidden, configured, url) for url in configured.urls}
        answers = at_once(looks, configured.timeout_seconds + GRACE)
        # Peers tell each other of silences, and one may not have heard yet: whoever hides most.
        told = [each for each in answers.values() if not isinstance(each, ClientError)]
        if not told:  # Alertmanager's own trouble is no trouble of the system
            why = next(str(each) for each in answers.values())
            return Seen(Health.UNKNOWN, f"silences unknown: {why}")
        hidden = max(told, key=len)
        evidence = {"hidden": [each.as_json() for each in hidden[:_SHOWN]], "count": len(hidden)}
        silenced = sum(bool(each.silences) for each in hidden)
        if not silenced:
            text = f"no alert that fires is silenced, {len(hidden)} inhibited by others"
            return Seen(Health.HEALTHY, text, evidence)
        named = "; ".join(map(str, hidden[:_NAMED]))
        return Seen(Health.DEGRADED, f"{silenced} fire and are silenced: {named}", evidence)

    return observe(incident, "triage.silences", "monitoring", probe)
