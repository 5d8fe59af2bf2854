"""Links to the tools beside us. A base comes from our settings, never from an alert.

What an alert says (its own generatorURL, a runbook_url annotation) is text: nobody clicks it.
"""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlencode

from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import of_kind, text
from tasks.sections.house import LinkSettings
from tasks.settings import settings

_BEFORE = timedelta(hours=1)  # of the graphs: what led to it
_NAME_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Link:
    """Where it leads, and what people call it."""

    text: str
    url: str


def links_of(incident: Incident) -> list[Link]:
    """Links for the tools whose address we were told, newest run first."""
    bases = settings().gateway.links
    return [*_runs(incident, bases), *_graphs(incident, bases), *_alerts(incident, bases)]


def _runs(incident: Incident, bases: LinkSettings) -> list[Link]:
    started = of_kind(incident.facts, FactKind.RUN_STARTED)
    if not bases.prefect or not started:
        return []
    run = text(started[-1].data, "flow_run", "", _NAME_LIMIT)
    return [Link("Run in Prefect", f"{_base(bases.prefect)}/runs/flow-run/{quote(run, safe='')}")]


def _graphs(incident: Incident, bases: LinkSettings) -> list[Link]:
    if not bases.grafana:
        return []
    if incident.opened_at is None:
        return [Link("Grafana", bases.grafana)]
    begins = int((incident.opened_at - _BEFORE).timestamp() * 1000)
    ends = int(incident.closed_at.timestamp() * 1000) if incident.closed_at else "now"
    joined = "&" if "?" in bases.grafana else "?"
    return [Link("Grafana", f"{bases.grafana}{joined}{urlencode({'from': begins, 'to': ends})}")]


def _alerts(incident: Incident, bases: LinkSettings) -> list[Link]:
    name = incident.alerts[0].get("name") if incident.alerts else None
    matcher = _matcher(name) if isinstance(name, str) and name else ""
    found = []
    if bases.prometheus:
        query = urlencode({"g0.expr": f"ALERTS{matcher}", "g0.tab": "1"})
        found.append(Link("Prometheus", f"{_base(bases.prometheus)}/graph?{query}"))
    if bases.alertmanager:
        query = urlencode({"filter": matcher}) if matcher else ""
        found.append(Link("Alertmanager", f"{_base(bases.alertmanager)}/#/alerts?{query}"))
    return found


def _matcher(name: str) -> str:
    escaped = name[:_NAME_LIMIT].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{alertname="{escaped}"}}'


def _base(url: str) -> str:
    return url.rstrip("/")
