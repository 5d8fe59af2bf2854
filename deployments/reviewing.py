"""The verbs by which people write in a review: answers, action items, sign-off, compliance."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from deployments import terminal
from deployments.console import Gateway, documented, explain_refusal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients.errors import Malformed
from tasks.domain.errors import BadInput
from tasks.domain.untrusted import visible

_BYTES = 64 * 1024


def words_of(text: str | None, file: Path | None) -> str:
    """What was typed, or what the file holds. Raises BadInput."""
    if (text is None) == (file is None):
        raise BadInput("expected the answer as --text or as --file, one of them")
    if file is None:
        return text or ""
    with file.open("rb") as opened:
        content = opened.read(_BYTES)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"expected UTF-8 in {file}, found byte {error.start} that is not") from error


def show(gateway: Gateway, incident: str, markdown: Path | None, json_file: Path | None) -> int:
    """Print how far the review is; write the action items as Markdown where it is asked for."""
    found = gateway.get(f"{_path(incident)}/review")
    with documented("a review"):
        lines = [f"{visible(incident, 80)}: {visible(found['status'], 600)}"]
        for prompt in found["prompts"]:
            needed = " (needed)" if prompt["needed"] else ""
            lines.append(f"\n{visible(prompt['question'])}: {visible(prompt['words'])}{needed}")
            lines += _answer(prompt)
        lines += ["", "Action items"]
        lines += [f"  {_item(each)}" for each in found["items"]] or ["  none"]
        export = str(found["markdown"])
    for line in lines:
        click.echo(line)
    if markdown is not None:
        markdown.write_text(export, encoding="utf-8")
        click.echo(f"{markdown}  the action items")
    terminal.write_json(json_file, found)
    return GOOD


def answer(gateway: Gateway, incident: str, question: str, words: str) -> int:
    """Answer one question."""
    body = {"question": question, "text": words}
    return _say(gateway, f"{_path(incident)}/answers", body, f"{question} answered")


def put(gateway: Gateway, incident: str, item: str | None, body: dict[str, str]) -> int:
    """Add an item, or put one anew."""
    path = f"{_path(incident)}/actions"
    if item is not None:
        path = f"{path}/{quote(item, safe='')}"
    return _say(gateway, path, body, "action put")


def end(gateway: Gateway, incident: str, item: str, reason: str, *, is_dropped: bool) -> int:
    """End an item."""
    ending = "dropped" if is_dropped else "done"
    body = {"ending": ending, "reason": reason}
    path = f"{_path(incident)}/actions/{quote(item, safe='')}/end"
    return _say(gateway, path, body, f"{item} {ending}")


def sign_off(gateway: Gateway, incident: str, reason: str) -> int:
    """Sign the review off."""
    return _say(gateway, f"{_path(incident)}/sign-off", {"reason": reason}, "report signed off")


def decide(gateway: Gateway, incident: str, matter: str, reason: str, *, yes: bool) -> int:
    """Decide on a matter of compliance."""
    body = {"matter": matter, "yes": yes, "reason": reason}
    said = f"{matter}: {'yes' if yes else 'no'}"
    return _say(gateway, f"{_path(incident)}/compliance", body, said)


def _answer(prompt: dict[str, Any]) -> list[str]:
    if not prompt["versions"]:
        return ["  not answered yet"]
    newest = prompt["versions"][-1]
    by = f"{visible(newest['by'])}, {visible(newest['at'])}, version {visible(prompt['version'])}"
    return [*(f"  {visible(line, 2000)}" for line in newest["lines"]), f"  ({by})"]


def _item(each: dict[str, Any]) -> str:
    words = (each["item"], each["state"], each["action"], each["owner"], f"due {each['due']}")
    return "  ".join(visible(word) for word in words)


def _path(incident: str) -> str:
    return f"/incidents/{quote(incident, safe='')}"


def _say(gateway: Gateway, path: str, body: dict[str, Any], what: str) -> int:
    reply = gateway.post(path, body)
    if not isinstance(reply.value, dict):
        raise Malformed(f"expected an object of {path}, found something else: is the URL right?")
    if reply.status != 200:  # noqa: PLR2004 - HTTP OK
        explain_refusal(reply.value)
        return COULD_NOT_TELL
    incident, by = (visible(reply.value.get(key)) for key in ("incident", "by"))
    item = visible(reply.value.get("item", ""))
    click.echo(f"{incident}: {f'{item} ' if item else ''}{visible(what)} by {by}")
    return GOOD
