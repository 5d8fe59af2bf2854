"""The verbs that talk to the gateway as a person: incidents, report, approve, deny."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from pydantic import SecretStr
from rich.table import Column, Table

from deployments import terminal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.plan import Plan
from tasks.domain.untrusted import visible
from tasks.settings import settings

TOKEN_VARIABLE = "RUNBOOK_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT = 10.0
_FILE_LIMIT = 4096
_SHOWN = 20
_TOKEN = re.compile(r"[!-~]{1,512}")  # what a header can carry


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
            accept=frozenset({200, 403, 404, 409, 422}),
        )


def connect(url: str | None, token_file: Path | None) -> Gateway:
    """The gateway and token that were given, or those of the environment."""
    token = os.environ.get(TOKEN_VARIABLE, "") if token_file is None else _read(token_file)
    if not token:
        raise BadInput(
            f"expected your personal token, found none: give --token-file or set {TOKEN_VARIABLE}"
        )
    if not _TOKEN.fullmatch(token):
        raise BadInput(
            "expected a personal token of at most 512 visible ASCII characters without spaces, "
            f"found something else in {token_file or TOKEN_VARIABLE}"
        )
    return Gateway((url or settings().gateway.url).rstrip("/"), SecretStr(token))


def _read(token_file: Path) -> str:
    """The token that the file holds; never more of it than shows that it is none."""
    with token_file.open("rb") as file:
        return file.read(_FILE_LIMIT).decode("utf-8", errors="replace").strip()


@contextmanager
def documented(what: str) -> Iterator[None]:
    """An answer without the keys that we need is no answer of our gateway."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise Malformed(
            f"expected {what} of the gateway, found something else: is its URL right?"
        ) from error


def incidents(gateway: Gateway, json_file: Path | None) -> int:
    """Print open and recent incidents, and what is in quarantine."""
    found = gateway.get("/incidents")
    with documented("a list of incidents"):
        table, unread = _incidents(found["incidents"]), _quarantine(found["quarantine"])
    console = terminal.console()
    console.print(table if table.rows else "no incidents", markup=False)
    for line in unread:
        console.print(line, markup=False, soft_wrap=True)
    terminal.write_json(json_file, found)
    return GOOD


def _incidents(found: list[dict[str, Any]]) -> Table:
    table = Table(
        Column("incident", no_wrap=True),
        Column("severity", no_wrap=True),
        "stage",
        Column("opened", no_wrap=True),
        "title",
        box=None,
        pad_edge=False,
    )
    for one in found:
        stage = one["outcome"] if one["closed_at"] else one["stage"]
        opened = str(one["opened_at"])[:19] + "+00:00" if one["opened_at"] else ""
        cells = (one["id"], one["severity"] or "", stage, opened, one["title"])
        table.add_row(*(visible(cell) for cell in cells))
    return table


def _quarantine(found: dict[str, Any]) -> list[str]:
    if not found["count"]:
        return []
    return [
        f"\nquarantine: {visible(found['count'])} notifications were not understood",
        *(
            f"  {visible(one['received_at'])}  {visible(one['size'])} bytes  "
            f"{visible(one['reason'])}"
            for one in found["newest"][:_SHOWN]
        ),
    ]


def report(gateway: Gateway, incident: str, directory: Path) -> int:
    """Fetch every form of an incident's report, and its seal, and check them by their hashes."""
    state = gateway.get(f"/incidents/{quote(incident, safe='')}")
    with documented("an incident"):
        written, stage = state["report"], state["stage"]
        digests = {form: str(written[form]["sha256"]) for form in ("html", "pdf") if written}
        for form in ("json", "seal"):  # an older report has none, one without a key no seal
            said = (written or {}).get(form) or {}
            if said.get("sha256"):
                digests[form] = str(said["sha256"])
    if not written:
        click.echo(f"{incident}: no report yet; it is {visible(stage)}", err=True)
        return COULD_NOT_TELL
    directory.mkdir(parents=True, exist_ok=True)
    for form, digest in digests.items():
        path = f"/reports/{quote(incident, safe='')}/{quote(digest, safe='')}.{form}"
        content = http.download(f"{gateway.url}{path}", timeout_seconds=_TIMEOUT)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise NotProven(f"expected a report with SHA-256 {digest[:64]}, found {found}")
        target = directory / f"{incident}.{form}"
        target.write_bytes(content)
        click.echo(f"{target}  sha256 {digest}")
    if "seal" not in digests:  # one that was fetched earlier is of another report
        (directory / f"{incident}.seal").unlink(missing_ok=True)
    return GOOD


def decide(gateway: Gateway, incident: str, verb: str, plan_hash: str | None, reason: str) -> int:
    """Show the standing plan, and decide on exactly it."""
    path = f"/incidents/{quote(incident, safe='')}"
    plan = standing_plan(gateway.get(f"{path}/plan"))
    show_plan(plan)
    if plan_hash is None:
        click.confirm(f"{verb} plan {plan.hash[:12]} of {incident}?", abort=True)
    elif plan.hash != plan_hash:
        raise BadInput(f"expected plan {plan_hash[:12]}, found {plan.hash[:12]}: read it")
    answer = gateway.post(f"{path}/plans/{plan.hash}/{verb}", {"reason": reason})
    with documented("a decision"):
        if answer.status != 200:  # noqa: PLR2004 - HTTP OK
            explain_refusal(answer.value)
            return COULD_NOT_TELL
        said, by = visible(answer.value["decision"]), visible(answer.value["by"])
    click.echo(f"{incident}: {said} by {by}")
    return GOOD


def explain_refusal(refused: dict[str, Any]) -> None:
    """Why the gateway did not do it, on standard error."""
    text = f"{refused.get('error')}: {refused.get('found')}; {refused.get('next')}"
    click.echo(visible(text, 600), err=True)


def standing_plan(standing: dict[str, Any]) -> Plan:
    """The plan that was sent, if it is the one that its hash names: people decide on the hash."""
    plan = Plan.from_json(standing.get("plan"))
    if plan.hash != standing.get("hash"):
        raise NotProven(
            f"expected the plan with hash {str(standing.get('hash'))[:64]}, found another, "
            f"{plan.hash}: do not decide; tell security"
        )
    return plan


def show_plan(plan: Plan, *, stands: bool = True) -> None:
    """The plan as people read it before they say yes; `stands`: they can, by its hash."""
    console = terminal.console()
    console.print(visible(plan.summary, 600), markup=False)
    table = Table("#", "step", Column("target", no_wrap=True), "destroys", box=None, pad_edge=False)
    for number, step in enumerate(plan.steps, start=1):
        cells = (step.action, step.target, step.destroys)
        table.add_row(str(number), *(visible(cell) for cell in cells))
    console.print(table, markup=False)
    console.print(f"lost: {visible(plan.will_be_lost, 600)}", markup=False)
    if stands:
        line = f"expires {plan.expires_at.isoformat()}, hash {plan.hash}"
        console.print(line, markup=False, soft_wrap=True)
