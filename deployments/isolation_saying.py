"""The verbs by which a person confirms an isolation or has it taken back."""

from urllib.parse import quote

import click

from deployments.console import Gateway, explain_refusal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients.errors import Malformed
from tasks.domain.untrusted import visible

_FOLLOWS = {
    "confirm": "the isolation stands until a person takes it back",
    "return": "the run that takes it back is ordered",
}


def judge(gateway: Gateway, incident: str, word: str, reason: str) -> int:
    """Send the word; what was recorded, and what follows from it."""
    path = f"/incidents/{quote(incident, safe='')}/isolation/{word}"
    answer = gateway.post(path, {"reason": reason})
    if not isinstance(answer.value, dict):
        raise Malformed(f"expected an object of {path}, found something else: is the URL right?")
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        explain_refusal(answer.value)
        return COULD_NOT_TELL
    shown, by = (visible(answer.value.get(key)) for key in ("incident", "by"))
    click.echo(f"{shown}: {word} by {by}; {_FOLLOWS[word]}")
    return GOOD
