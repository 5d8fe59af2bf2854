"""`runbook seal`: have new records sealed now. Prints only a head that its signatures prove."""

from pathlib import Path

from deployments import terminal
from deployments.exits import BAD, GOOD
from tasks.domain.errors import NotProven
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work.sealed_logs import LogName
from tasks.work.sealing_order import SealedHead, order_sealing


def run(log: str, json_file: Path | None) -> int:
    """Ask the sealer, verify, print, write `json_file`; the exit code.

    1: the sealer or a witness refuses, or the answer proves nothing. Errors of reaching the sealer
    are raised, and end with 2.
    """
    console = terminal.console()
    try:
        head = order_sealing(LogName(log), settings())
    except NotProven as error:
        reason = visible(error, 2000)
        console.print(f"not sealed  {reason}", markup=False, soft_wrap=True)
        terminal.write_json(json_file, {"log": log, "sealed": False, "reason": reason})
        return BAD
    for line in _lines(head):
        console.print(line, markup=False)
    terminal.write_json(json_file, _as_json(head))
    return GOOD


def _lines(head: SealedHead) -> list[str]:
    names = ", ".join(visible(each, 80) for each in head.witnesses)
    return [
        f"sealed  {head.checkpoint.size:,} records of {visible(head.checkpoint.origin, 80)}",
        f"new     {head.added:,}",
        f"root    {head.checkpoint.root.hex()}",
        f"cosigned by {names or 'nobody: the trust policy names no witnesses'}",
        f"time-stamp token {visible(head.timestamp, 200)}",
    ]


def _as_json(head: SealedHead) -> dict[str, object]:
    return {
        "log": head.name.value,
        "sealed": True,
        "origin": head.checkpoint.origin,
        "size": head.checkpoint.size,
        "root": head.checkpoint.root.hex(),
        "added": head.added,
        "witnesses": list(head.witnesses),
        "note": head.note,
        "timestamp": head.timestamp,
    }
