"""Asking the responder for a change: the gateway records the wish, a run plans it."""

from collections.abc import Mapping

from deployments import terminal
from deployments.console import Gateway, documented, explain_refusal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.domain.change_wish import Wanted
from tasks.domain.untrusted import visible

_HTTP_OK = 200


def ask_gateway(
    gateway: Gateway, wanted: Wanted, reason: str, more: Mapping[str, object] | None = None
) -> int:
    """Ask, and say who goes on from here; the exit code."""
    body = {"wanted": wanted.value, "reason": reason, **(more or {})}
    answer = gateway.post("/changes", body)
    if answer.status != _HTTP_OK:
        explain_refusal(answer.value)
        return COULD_NOT_TELL
    with documented("an incident"):
        incident = visible(answer.value["incident"])
        joined = " (joined: it was open already)" if answer.value["joined"] else ""
    terminal.console().print(
        f"\n{incident}{joined}: somebody else than you reads and approves its plan: "
        f"runbook approve {incident}",
        markup=False,
        soft_wrap=True,
    )
    return GOOD
