"""Atlassian Statuspage: an incident on a public page, by its REST API.

One call a second per key; more is 420 or 429. It has no idempotency key: our own name of the
incident is in its metadata, and whoever writes looks first. Facts: developer.statuspage.io.
"""

from collections.abc import Mapping
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.domain.status_drafts import Draft
from tasks.sections.communication import StatusPageSettings

_METADATA = "runbook"


def publish(page: StatusPageSettings, draft: Draft, known: str) -> str:
    """Make the page say the draft; the incident's id there. `known` is that id, or empty.

    What says so already is left alone. Raises Transient, Denied, NotFound or Malformed.
    """
    there = _call(page, "GET", f"/incidents/{known}") if known else _ours(page, draft.page)
    wanted = {"name": draft.subject, "status": draft.state, "body": draft.text}
    if there is None:
        told = {**wanted, "metadata": {_METADATA: {"page": draft.page}}}
        there = _call(page, "POST", "/incidents", {"incident": told})
    elif not _says(there, draft):
        there = _call(page, "PATCH", f"/incidents/{_id(there)}", {"incident": wanted})
    return _id(there)


def check(page: StatusPageSettings) -> int:
    """How many incidents the page shows: whether it knows our key."""
    return len(_unresolved(page))


def _unresolved(page: StatusPageSettings) -> list[Any]:
    found = _call(page, "GET", "/incidents/unresolved")
    if not isinstance(found, list):
        raise Malformed("expected Statuspage's list of incidents, found something else")
    return found


def _ours(page: StatusPageSettings, name: str) -> Mapping[str, Any] | None:
    """What a killed attempt of ours has made."""
    for one in _unresolved(page):
        metadata = one.get("metadata") if isinstance(one, dict) else None
        if isinstance(metadata, dict) and metadata.get(_METADATA) == {"page": name}:
            return dict(one)
    return None


def _says(there: Mapping[str, Any], draft: Draft) -> bool:
    """Whether its newest update has these words."""
    updates = there.get("incident_updates") or [{}]
    return (there.get("status"), updates[0].get("body")) == (draft.state, draft.text)


def _id(there: Mapping[str, Any]) -> str:
    found = there.get("id") if isinstance(there, Mapping) else None
    if not isinstance(found, str) or not found.isalnum():
        raise Malformed("expected the id of an incident of Statuspage, found none")
    return found


def _call(
    page: StatusPageSettings, method: str, path: str, body: Mapping[str, Any] | None = None
) -> Any:  # noqa: ANN401 - JSON of others
    return http.call(
        method,
        f"{page.url}/pages/{page.page_id}{path}",
        timeout_seconds=page.timeout_seconds,
        token=page.api_key,
        scheme="OAuth ",
        json_body=body,
        accept=frozenset({200, 201}),
    ).value
