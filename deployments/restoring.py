"""`runbook restore --to TARGET`: asks for a restore, shows the plan, and follows it to its end.

Everything goes through the gateway under the caller's name. The restore itself is no part of this
process: whoever stops watching stops nothing.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from deployments import terminal
from deployments.console import Gateway, documented, explain_refusal, show_plan, standing_plan
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.errors import Refused
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Stage
from tasks.domain.outcome import Ending
from tasks.domain.plan import Plan
from tasks.domain.recovery_target import Target
from tasks.domain.timeline import told
from tasks.domain.untrusted import visible
from tasks.settings import settings

_POLL_SECONDS = 0.5
_SLOWEST_SECONDS = 5.0
"""Between two looks when nothing happens: a plan may wait for its approver for an hour."""

_BETWEEN_RUNS = timedelta(seconds=30)
"""From an approval to the run that it resumes, at most: then nobody is at work on it."""

_WIDTH = 300
_SIMULATED = "restore approver (simulated)"
_NO_PERSON = "approved by --yes in the lab, no person has read the plan"


@dataclass(slots=True)
class Followed:
    """What has been shown of one incident so far."""

    gateway: Gateway
    incident: str
    console: Console
    state: dict[str, Any] = field(default_factory=dict)
    told: list[Mapping[str, Any]] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    shown: int = -1
    progress: str = ""
    plan_shown: str = ""
    pause: float = _POLL_SECONDS

    def look(self) -> None:
        """Ask the gateway for what is new, and print it."""
        path = f"/incidents/{quote(self.incident, safe='')}?after={self.shown}"
        self.state = self.gateway.get(path)
        with documented("an incident"):
            told = [each for each in self.state["facts"] if int(each["seq"]) > self.shown]
            new = list(_facts(self.incident, told))
        self.told += told
        self.facts += new
        for fact in new:
            self.shown = max(self.shown, fact.seq)
            self.console.print(_line(fact), soft_wrap=True)
        said = self.state.get("progress") or {}
        text = visible(said.get("text", ""), _WIDTH)
        if text != self.progress and self.state.get("stage") == Stage.CARRYING_OUT:
            self.console.print(Text(f"{'':14}{text}", style="dim"), soft_wrap=True)
        is_news = bool(new) or text != self.progress
        self.pause = _POLL_SECONDS if is_news else min(1.5 * self.pause, _SLOWEST_SECONDS)
        self.progress = text

    @property
    def is_closed(self) -> bool:
        """Whether the incident is over, with its report."""
        return self.state.get("closed_at") is not None

    @property
    def is_idle(self) -> bool:
        """Whether no run is ordered or at work; between an approval and its run there may be."""
        if self.state.get("responding"):
            return False
        newest = self.facts[-1].at if self.facts else None
        approved = self.state.get("stage") == Stage.CARRYING_OUT
        return not approved or newest is None or _now() - newest > _BETWEEN_RUNS


def restore(
    gateway: Gateway, target: Target, reason: str, *, approve: bool, json_file: Path | None
) -> int:
    """Ask, show the plan and how to approve it, and follow the restore; the exit code.

    `approve`: say yes as a simulated person, in the lab alone (Refused anywhere else).
    """
    if approve and not settings().lab:
        raise Refused("expected the embedded stack, found other settings: --yes is for the lab")
    answer = gateway.post("/restores", {"target": str(target), "reason": reason})
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        explain_refusal(answer.value)
        return COULD_NOT_TELL
    console = terminal.console()
    with documented("an incident"):
        incident = str(answer.value["incident"])
        joined = " (joined: it was open already)" if answer.value["joined"] else ""
    console.print(f"{visible(incident)}: restore to {target}{joined}", markup=False)
    followed = Followed(gateway, incident, console)
    code = _follow(followed, target, approve=approve)
    terminal.write_json(json_file, _written(followed, target))
    return code


def _follow(followed: Followed, target: Target, *, approve: bool) -> int:
    while True:
        followed.look()
        if followed.is_closed:
            return _ended(followed)
        plan = _plan_for(followed, target)
        if plan is not None and followed.plan_shown != plan.hash:
            _show_plan(followed, plan, approve=approve)
        elif followed.is_idle and plan is None:
            return _stopped(followed)
        time.sleep(followed.pause)


def _plan_for(followed: Followed, target: Target) -> Plan | None:
    """The plan that waits for a decision, unless it is one for another target."""
    if followed.state.get("stage") != Stage.AWAITING_APPROVAL:
        return None
    plan = standing_plan(followed.state.get("plan") or {})
    return plan if plan.observed.get("target") == str(target) else None


def _show_plan(followed: Followed, plan: Plan, *, approve: bool) -> None:
    followed.plan_shown = plan.hash
    followed.console.print()
    show_plan(plan)
    if approve:
        _approve(followed, plan.hash)
        return
    followed.console.print(
        f"\nsomebody else than you approves it: runbook approve {visible(followed.incident)} "
        f"--plan {plan.hash}\n",
        markup=False,
        soft_wrap=True,
    )


def _approve(followed: Followed, plan_hash: str) -> None:
    """The simulated person's yes, through the same endpoint as everybody's."""
    from tasks.work import people  # noqa: PLC0415  the lab's own database, needed here alone

    token = people.add_person(_SIMULATED, "approver", timedelta(hours=1))
    person = Gateway(followed.gateway.url, SecretStr(token))
    path = f"/incidents/{quote(followed.incident, safe='')}/plans/{plan_hash}/approve"
    answer = person.post(path, {"reason": _NO_PERSON})
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        raise Refused(f"expected the gateway to take the approval, found {answer.value}")


def _ended(followed: Followed) -> int:
    outcome = str(followed.state.get("outcome"))
    proof = followed.state.get("proof") or {}
    followed.console.print(f"\n{visible(followed.incident)}: {visible(outcome)}", markup=False)
    if outcome == Ending.RESTORED:
        return GOOD if proof.get("holds") is True else BAD
    return COULD_NOT_TELL


def _stopped(followed: Followed) -> int:
    """The run ended without mending: its last note says why, and a person has the next step."""
    notes = [fact for fact in followed.facts if fact.kind is FactKind.NOTE]
    why = told(notes[-1]) if notes else "no run of the response is at work"
    followed.console.print(
        f"\n{visible(followed.incident)} stopped: {visible(why, 1000)}", markup=False
    )
    proof = followed.state.get("proof") or {}
    return BAD if proof.get("holds") is False else COULD_NOT_TELL


def _written(followed: Followed, target: Target) -> dict[str, Any]:
    state = followed.state
    return {
        "incident": followed.incident,
        "target": str(target),
        "stage": state.get("stage"),
        "outcome": state.get("outcome"),
        "plan": state.get("plan"),
        "proof": state.get("proof"),
        "facts": followed.told,
    }


def _facts(incident: str, values: list[Mapping[str, Any]]) -> Iterator[Fact]:
    known = set(FactKind)
    for each in values:
        kind = FactKind(each["kind"]) if each["kind"] in known else FactKind.UNKNOWN
        at = datetime.fromisoformat(each["at"])
        yield Fact(int(each["seq"]), incident, at, kind, str(each["actor"]), dict(each["data"]))


def _line(fact: Fact) -> Text:
    line = Text(f"{fact.at:%H:%M:%S.%f}"[:12] + "  ")
    line.append(f"{fact.kind.value:18}", style="bold")
    who = "" if fact.actor == "runbook" else f"  [{visible(fact.actor, 60)}]"
    line.append(f" {visible(told(fact), _WIDTH)}{who}")
    return line


def _now() -> datetime:
    return datetime.now().astimezone()
