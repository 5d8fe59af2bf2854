"""The verb by which a person reads what the public would be told, and lets it become public."""

from typing import Any
from urllib.parse import quote

import click

from deployments.console import Gateway, documented, explain_refusal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients.errors import Malformed
from tasks.domain.errors import BadInput
from tasks.domain.untrusted import visible

_LEAST_PREFIX = 8


def show(gateway: Gateway, incident: str) -> int:
    """Print every draft with its hash, and how it stands."""
    found = _drafts(gateway, incident)
    for draft in found:
        state = _state_of(draft)
        click.echo(f"{visible(draft['hash'])[:12]}  {visible(draft['moment'])}, {state}")
        for line in (draft["subject"], *str(draft["text"]).splitlines()):
            click.echo(f"    {visible(line, 400)}")
    if not found:
        click.echo("Nothing is drafted.")
    return GOOD


def ask(gateway: Gateway, incident: str, moment: str) -> int:
    """Have the words of a moment drafted; nothing becomes public."""
    if not _post(gateway, _path(incident), {"moment": moment}):
        return COULD_NOT_TELL
    return show(gateway, incident)


def publish(gateway: Gateway, incident: str, prefix: str) -> int:
    """Let the draft of that hash become public."""
    if len(prefix) < _LEAST_PREFIX:
        raise BadInput(f"expected at least {_LEAST_PREFIX} digits of a hash, found {prefix[:80]!a}")
    named = [one for one in _drafts(gateway, incident) if str(one["hash"]).startswith(prefix)]
    if len(named) != 1:
        raise BadInput(
            f"expected the hash of one draft, found {len(named)}: see runbook status-page "
            f"{visible(incident, 80)}"
        )
    if not _post(gateway, f"{_path(incident)}/{named[0]['hash']}/approve", {}):
        return COULD_NOT_TELL
    click.echo(f"Approved; becomes public: {visible(named[0]['subject'], 200)}")
    return GOOD


def _drafts(gateway: Gateway, incident: str) -> list[dict[str, Any]]:
    with documented("the drafts of an incident"):
        found = gateway.get(_path(incident))["drafts"]
        for one in found:
            _ = one["hash"], one["moment"], one["subject"], one["text"], _state_of(one)
        return list(found)


def _state_of(draft: dict[str, Any]) -> str:
    if draft["is_public"]:
        return "public"
    by = draft["approved_by"]
    return f"approved by {visible(by)}, not public yet" if by else "waits for approval"


def _post(gateway: Gateway, path: str, body: dict[str, str]) -> bool:
    answer = gateway.post(path, body)
    if not isinstance(answer.value, dict):
        raise Malformed(f"expected an object of {path}, found something else: is the URL right?")
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        explain_refusal(answer.value)
        return False
    return True


def _path(incident: str) -> str:
    return f"/incidents/{quote(incident, safe='')}/status-page"
