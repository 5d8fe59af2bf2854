"""The verb by which a privacy officer decides on the risk of a breach."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import click

from deployments.console import Gateway, explain_refusal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients.errors import Malformed
from tasks.domain.errors import BadInput
from tasks.domain.untrusted import visible


def read_eases(texts: Sequence[str]) -> dict[str, str]:
    """`IDENTIFIER=EASE`, several times. Raises BadInput."""
    found = {}
    for text in texts:
        identifier, equals, ease = text.partition("=")
        if not equals:
            raise BadInput(f"expected IDENTIFIER=EASE such as e-mail=maximum, found {text[:60]!a}")
        found[identifier.strip()] = ease.strip()
    return found


def decide(gateway: Gateway, incident: str, body: dict[str, Any]) -> int:
    """Send the decision; what was recorded, and what is left to do."""
    path = f"/incidents/{quote(incident, safe='')}/privacy/decide"
    answer = gateway.post(path, body)
    if not isinstance(answer.value, dict):
        raise Malformed(f"expected an object of {path}, found something else: is the URL right?")
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        explain_refusal(answer.value)
        return COULD_NOT_TELL
    shown, by = (visible(answer.value.get(key)) for key in ("incident", "by"))
    click.echo(f"{shown}: risk {body['risk']} decided by {by}")
    click.echo("No clock was stopped: on the incident's page say for each one what was done.")
    return GOOD
