"""The people of a demo, simulated: who approves, and who asks for what a scenario needs.

They go through the same authenticated endpoints as everybody, under names that say what they are.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr

from deployments.console import Gateway
from deployments.lab.damage import Damage
from deployments.lab.stack import APPROVER, Lab
from tasks.domain.errors import Refused
from tasks.domain.recovery_target import Target
from tasks.domain.roles import Role, decided_as, deciders
from tasks.settings import settings
from tasks.work import journal, people

ENGINEER = "demo on-call engineer (simulated)"

_NO_PERSON = "approved by the demo, no person has read the plan"
_TOKEN_VALID = timedelta(hours=12)


@dataclass(slots=True)
class OnCall:
    """Whoever is on call while a scenario runs. `wanted`: what was asked for, if anything was.

    `room_at`: when there was room again on a disk that was full; `mended_at`: when a system was
    back that somebody had to start again.
    """

    lab: Lab
    damage: Damage
    wanted: Target | None = None
    room_at: datetime | None = None
    mended_at: datetime | None = None

    def ask(self, target: Target, reason: str) -> None:
        """Ask for the database as of the target, as the on-call engineer."""
        self._require_lab()
        self.wanted = target
        token = people.add_person(ENGINEER, "responder", _TOKEN_VALID)
        gateway = Gateway(self.lab.gateway_url, SecretStr(token))
        answer = gateway.post("/restores", {"target": str(target), "reason": reason})
        if answer.status != httpx.codes.OK:
            raise Refused(f"expected the gateway to take the request, found {answer.value}")

    def is_what_was_asked_for(self, plan: dict[str, Any]) -> bool:
        """Whether a proposed plan is for the target that the engineer has asked for."""
        return self.wanted is None or plan["observed"].get("target") == str(self.wanted)

    def approve(self, incident: str, plan_hash: str) -> None:
        """The yes of as many simulated people as it takes, each of a role that may say it."""
        self._require_lab()
        path = f"/incidents/{incident}/plans/{plan_hash}/approve"
        for token in self._approvers(incident):
            answer = Gateway(self.lab.gateway_url, SecretStr(token)).post(
                path, {"reason": _NO_PERSON}
            )
            if answer.status != httpx.codes.OK:
                raise Refused(f"expected the gateway to take the approval, found {answer.value}")

    def _approvers(self, incident: str) -> list[str]:
        state = journal.read(incident)
        roles = deciders(decided_as(state.procedure, state.plan.procedure if state.plan else ""))
        tokens = [self.lab.people[APPROVER]] if Role.APPROVER in roles else []
        role = min(roles)
        while len(tokens) < state.approvers_required:
            name = f"demo {role.value} {len(tokens) + 1} (simulated)"
            tokens.append(people.add_person(name, role.value, _TOKEN_VALID))
        return tokens

    def _require_lab(self) -> None:
        if not settings().lab:
            raise Refused("expected the embedded stack, found other settings: --yes is for the lab")
