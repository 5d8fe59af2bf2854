"""Alertmanager's HTTP API (v2): what fires, what of it is hidden, and since when it is up."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.domain.alertmanager import whole_milliseconds
from tasks.domain.errors import BadInput
from tasks.domain.reconciling import Listed, Look
from tasks.domain.silences import HiddenAlert, read_hidden
from tasks.sections.systems import AlertmanagerSettings

_BODY_LIMIT = 16 * 1024 * 1024
_SUPPRESSED = "suppressed"
_STATES = frozenset({"active", "unprocessed", _SUPPRESSED})
_EVERY = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}
_HIDDEN = {"active": "false", "silenced": "true", "inhibited": "true", "unprocessed": "false"}
_LEAST_SECONDS = 0.05


def look(alertmanager: AlertmanagerSettings, url: str) -> Look:
    """What the peer at `url` says fires, silenced and inhibited alerts too.

    Raises Transient, Denied, NotFound or Malformed as `http.call`; an answer with one alert that
    cannot be read is Malformed as a whole: what is left out of it must not look resolved.
    """
    status = _ask(alertmanager, f"{url}/api/v2/status", {})
    alerts = _ask(alertmanager, f"{url}/api/v2/alerts", _EVERY)
    try:
        if not isinstance(alerts, list):
            raise TypeError(f"expected a list of alerts, found {type(alerts).__name__}")  # noqa: TRY301
        return Look(_moment(status["uptime"]), tuple(_listed(alert) for alert in alerts))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Malformed(
            f"expected Alertmanager's alerts and status of {url}, found {type(error).__name__}"
        ) from error


def hidden(alertmanager: AlertmanagerSettings, url: str) -> tuple[HiddenAlert, ...]:
    """Alerts that fire and are silenced or inhibited, as the peer at `url` says; errors as above.

    Both questions together take no longer than the time-out.
    """
    end = time.monotonic() + alertmanager.timeout_seconds
    alerts = _ask(alertmanager, f"{url}/api/v2/alerts", _HIDDEN)
    left = max(_LEAST_SECONDS, end - time.monotonic())
    silences = _ask(alertmanager, f"{url}/api/v2/silences", {}, left) if alerts else []
    try:
        return read_hidden(alerts, silences)
    except BadInput as error:
        raise Malformed(f"expected what Alertmanager hides of {url}: {error}") from error


def _ask(
    alertmanager: AlertmanagerSettings,
    url: str,
    params: Mapping[str, str],
    seconds: float | None = None,
) -> Any:  # noqa: ANN401  JSON of another system
    return http.call(
        "GET",
        url,
        timeout_seconds=alertmanager.timeout_seconds if seconds is None else seconds,
        token=alertmanager.token,
        params=dict(params),
        body_limit=_BODY_LIMIT,
    ).value


def _listed(alert: Mapping[str, Any]) -> Listed:
    state = alert["status"]["state"]
    if state not in _STATES:
        raise ValueError(f"expected a state of {sorted(_STATES)}")
    return Listed(
        fingerprint=_text(alert["fingerprint"]),
        starts_at=whole_milliseconds(_moment(alert["startsAt"])),
        labels=_texts(alert["labels"]),
        annotations=_texts(alert.get("annotations", {})),
        receivers=tuple(_text(receiver["name"]) for receiver in alert.get("receivers", ())),
        suppressed=state == _SUPPRESSED,
        pending=state == "unprocessed",
    )


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("expected an object")
    return {_text(name): _text(text) for name, text in value.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("expected a time with its zone")
    return moment
