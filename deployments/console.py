"""The verbs that talk to the gateway as a person: incidents, report, approve, deny."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.untrusted import visible
from tasks.settings import settings

TOKEN_VARIABLE = "RUNBOOK_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT = 10.0
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where to ask, and as whom."""

    url: str
    token: SecretStr

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object; refusals are errors."""
        answer = http.call("GET", f"{self.url}{path}", timeout_seconds=_TIMEOUT, token=self.token)
        if not isinstance(answer.value, dict):
            raise Malformed(f"expected an object of {path}, found something else")
        return answer.value

    def post(self, path: str, body: dict[str, Any]) -> http.Answer:
        """Any answer with JSON, refusals included."""
        return http.call(
            "POST",
            f"{self.url}{path}",
            timeout_seconds=_TIMEOUT,
            token=self.token,
            json_body=body,
            accept=frozenset({200, 404, 409}),
        )


def connect(url: str | None, token_file: Path | None) -> Gateway:
    """The gateway and token that were given, or those of the environment."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
    if not token:
        raise BadInput(
            f"expected your personal token, found none: give --token-file or set {TOKEN_VARIABLE}"
        )
    return Gateway((url or settings().gateway.url).rstrip("/"), SecretStr(token))


def incidents(gateway: Gateway, json_file: Path | None) -> int:
    """Print open and recent incidents, and what is in quarantine."""
    found = gateway.get("/incidents")
    table = Table("incident", "severity", "stage", "opened", "title", box=None, pad_edge=False)
    for one in found["incidents"]:
        stage = one["outcome"] if one["closed_at"] else one["stage"]
        opened = str(one["opened_at"])[:19] + "+00:00"
        table.add_row(one["id"], one["severity"] or "", stage, opened, visible(one["title"]))
    console = Console(highlight=False)
    console.print(table if found["incidents"] else "no incidents", markup=False)
    quarantine = found["quarantine"]
    if quarantine["count"]:
        console.print(f"\nquarantine: {quarantine['count']} notifications were not understood")
        for one in quarantine["newest"][:_SHOWN]:
            line = f"  {one['received_at']}  {one['size']} bytes  {visible(one['reason'])}"
            console.print(line, markup=False)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return GOOD


def report(gateway: Gateway, incident: str, directory: Path) -> int:
    """Fetch both forms of an incident's report and check them against the journal's hashes."""
    state = gateway.get(f"/incidents/{quote(incident, safe='')}")
    written = state["report"]
    if not written:
        click.echo(f"{incident}: no report yet; it is {state['stage']}", err=True)
        return COULD_NOT_TELL
    directory.mkdir(parents=True, exist_ok=True)
    for form in ("html", "pdf"):
        digest = written[form]["sha256"]
        path = f"/reports/{quote(incident, safe='')}/{digest}.{form}"
        content = http.download(f"{gateway.url}{path}", timeout_seconds=_TIMEOUT)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise NotProven(f"expected a report with SHA-256 {digest}, found {found}")
        target = directory / f"{incident}.{form}"
        target.write_bytes(content)
        click.echo(f"{target}  sha256 {digest}")
    return GOOD


def decide(gateway: Gateway, incident: str, verb: str, plan_hash: str | None, reason: str) -> int:
    """Show the standing plan, and decide on exactly it."""
    path = f"/incidents/{quote(incident, safe='')}"
    standing = gateway.get(f"{path}/plan")
    show_plan(standing)
    if plan_hash is None:
        question = f"{verb} plan {standing['hash'][:12]} of {incident}?"
        click.confirm(question, abort=True)
    elif standing["hash"] != plan_hash:
        raise BadInput(f"expected plan {plan_hash[:12]}, found {standing['hash'][:12]}: read it")
    answer = gateway.post(f"{path}/plans/{standing['hash']}/{verb}", {"reason": reason})
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        refused = answer.value
        text = f"{refused.get('error')}: {refused.get('found')}; {refused.get('next')}"
        click.echo(visible(text, 600), err=True)
        return COULD_NOT_TELL
    click.echo(f"{incident}: {answer.value['decision']} by {answer.value['by']}")
    return GOOD


def show_plan(standing: dict[str, Any]) -> None:
    """The plan as people read it before they say yes."""
    plan = standing["plan"]
    console = Console(highlight=False)
    console.print(visible(plan["summary"], 600), markup=False)
    table = Table("#", "step", "target", "destroys", box=None, pad_edge=False)
    for number, step in enumerate(plan["steps"], start=1):
        cells = (step["action"], step["target"], step["destroys"])
        table.add_row(str(number), *(visible(cell) for cell in cells))
    console.print(table, markup=False)
    console.print(f"lost: {visible(plan['will_be_lost'], 600)}", markup=False)
    console.print(f"expires {plan['expires_at']}, hash {standing['hash']}")
