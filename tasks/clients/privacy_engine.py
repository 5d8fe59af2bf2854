"""The privacy engine, through the audit API: what it says, its noise, and its brakes."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Conflict, Malformed, NotFound
from tasks.sections.privacy import PrivacySettings
from tasks.sections.systems import ApiSettings

_MADE = frozenset({200, 409})
_CONFLICT = 409
_TEXT = 200


def config(api: ApiSettings, privacy: PrivacySettings) -> Mapping[str, Any]:
    """`GET privacy/config`."""
    return _object(api, "GET", privacy.config_path)


def budget(api: ApiSettings, privacy: PrivacySettings) -> Mapping[str, Any]:
    """`GET privacy/budget`."""
    return _object(api, "GET", privacy.budget_path)


def probe(api: ApiSettings, privacy: PrivacySettings, samples: int) -> Mapping[str, Any]:
    """Fresh noise of the engine's own code, on its fixed synthetic data."""
    return _object(api, "POST", privacy.probe_path, body={"samples": samples})


def published(api: ApiSettings, privacy: PrivacySettings) -> Mapping[str, Any]:
    """Published records: at most a sample of them."""
    return _object(api, "GET", privacy.published_path, params={"limit": privacy.sample})


def halt(
    api: ApiSettings, privacy: PrivacySettings, incident: str, reason: str
) -> Mapping[str, Any]:
    """Have every release refused from now on; once halted it stays so, however often it is told."""
    body = {"incident": incident, "reason": reason}
    return _object(_controlled(api, privacy), "POST", privacy.halt_path, body=body)


def open_epoch(
    api: ApiSettings,
    privacy: PrivacySettings,
    epoch: int,
    retire: Sequence[str],
    plan: str,
) -> Mapping[str, Any]:
    """Retire blocks for good, and count anew for data that was never released.

    Told again it changes nothing. Raises Conflict when the engine is in another epoch already.
    """
    body = {"epoch": epoch, "retire": list(retire), "plan": plan}
    return _object(_controlled(api, privacy), "POST", privacy.epoch_path, body=body)


def _controlled(api: ApiSettings, privacy: PrivacySettings) -> ApiSettings:
    token = privacy.control_token if privacy.control_token.get_secret_value() else api.token
    return api.model_copy(update={"token": token})


def _object(
    api: ApiSettings,
    method: str,
    path: str,
    *,
    params: Mapping[str, str | int] | None = None,
    body: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """An object. NotFound when our settings say that it is not offered."""
    if not path:
        raise NotFound("the engine offers no such endpoint: see RUNBOOK_PRIVACY__..._PATH")
    answer = http.call(
        method,
        f"{api.url}/api/v1/{path}",
        timeout_seconds=api.timeout_seconds,
        token=api.token,
        params=params,
        json_body=body,
        accept=_MADE if method == "POST" else frozenset({200}),
    )
    if answer.status == _CONFLICT:
        raise Conflict(f"{path}: the engine refuses: {ascii(answer.value)[:_TEXT]}")
    if not isinstance(answer.value, dict):
        raise Malformed(f"expected an object of {path}, found {type(answer.value).__name__}")
    return answer.value
