"""What watches the patient, where it is installed: Prometheus, and Alertmanager behind it."""

from deployments.lab import alertmanager, prometheus
from deployments.lab.alertmanager import AlertmanagerServer
from deployments.lab.environment import LOOPBACK
from deployments.lab.parts import Parts
from deployments.lab.prometheus import PrometheusServer


def monitors(lab: Parts) -> tuple[PrometheusServer | None, AlertmanagerServer | None]:
    """Both servers, not started; None for what is not installed or not asked for."""
    program, sender = prometheus.installed(), alertmanager.installed()
    if program is None:
        return None, None
    watching = PrometheusServer(
        lab.path / "prometheus", lab.processes, program, f"{LOOPBACK}:{lab.api.port}"
    )
    if lab.life is not None:
        watching.exporters = lab.life.exporter.address
    if sender is None or not lab.options.alerting or not lab.options.has_gateway:
        return watching, None
    sending = AlertmanagerServer(
        lab.path / "alertmanager",
        lab.processes,
        sender,
        f"{lab.gateway_url}/alerts",
        lab.alert_token,
    )
    watching.gateway = f"{LOOPBACK}:{lab.ports['gateway']}"
    watching.alertmanager = sending.address
    return watching, sending
