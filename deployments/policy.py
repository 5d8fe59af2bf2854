"""`runbook policy`: the routing policy shown, tested with examples, replayed against recordings.

Nothing here talks to a server or starts a flow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from deployments import terminal
from deployments.exits import BAD, GOOD
from deployments.recorded import read_recorded
from tasks.domain.alertmanager import Notification
from tasks.domain.errors import BadInput
from tasks.domain.policy import RoutingPolicy
from tasks.domain.policy_cases import Case, Mismatch, check_case, read_cases, untested
from tasks.domain.policy_differences import Difference, differences, only_in
from tasks.domain.replay import Reckoned, Replay
from tasks.domain.untrusted import visible
from tasks.domain.written import MAX_BYTES
from tasks.sections.files import read_text
from tasks.work import routing

SHIPPED_TESTS = Path(__file__).parent / "routing" / "tests.toml"

_SHOWN = 50
_CELL = 80


def run_examples(tests: Sequence[Path], policy_file: Path | None, json_file: Path | None) -> int:
    """Decide the examples of the files, or ours when none is given; 1 when one fails.

    A route that no example reaches is named, and fails nothing.
    """
    policy = _policy(policy_file)
    cases = [case for file in tests or [SHIPPED_TESTS] for case in _cases(file)]
    checked = [check_case(policy, case) for case in cases]
    wrong = [mismatch for found in checked for mismatch in found]
    failed = sum(bool(found) for found in checked)
    blind = untested(policy, cases)
    _print_test(wrong, len(cases), failed, blind)
    terminal.write_json(
        json_file,
        {
            "policy": policy.digest,
            "cases": len(cases),
            "failed": failed,
            "mismatches": [one.as_json() for one in wrong],
            "untested_routes": blind,
        },
    )
    return BAD if failed else GOOD


def replay(
    files: Sequence[Path], policy_file: Path | None, against: Path | None, json_file: Path | None
) -> int:
    """What the recorded notifications would have started, and otherwise under another policy."""
    policy = _policy(policy_file)
    other = None if against is None else routing.read_policy(against)
    notifications = read_recorded(files)
    replayed = _replay(policy, notifications)
    said = _summary(policy, replayed, notifications)
    _print_replay(replayed, notifications)
    if other is not None:
        otherwise = _replay(other, notifications)
        alerts = (alert for notification in notifications for alert in notification.alerts)
        found = differences(replayed, otherwise, (policy, other), alerts)
        mine, theirs = only_in(replayed, otherwise), only_in(otherwise, replayed)
        _print_differences(found, mine, theirs)
        said["against"] = {
            "policy": other.digest,
            "differences": [one.as_json() for one in found],
            "incidents_only_here": [one.number for one in mine],
            "incidents_only_there": [one.as_json() for one in theirs],
        }
    terminal.write_json(json_file, said)
    return GOOD


def _policy(file: Path | None) -> RoutingPolicy:
    """The file that was named; else the one in force by the settings."""
    return routing.current() if file is None else routing.read_policy(file)


def _cases(file: Path) -> tuple[Case, ...]:
    text = read_text(file, MAX_BYTES)
    try:
        return read_cases(text)
    except BadInput as error:
        raise BadInput(f"{file.name}: {error}") from error


def _replay(policy: RoutingPolicy, notifications: Sequence[Notification]) -> Replay:
    replayed = Replay(policy)
    for notification in notifications:
        replayed.take(notification.alerts)
    return replayed


def _summary(
    policy: RoutingPolicy, replayed: Replay, notifications: Sequence[Notification]
) -> dict[str, Any]:
    return {
        "policy": policy.digest,
        "notifications": len(notifications),
        "alerts": sum(len(one.alerts) for one in notifications),
        "truncated": sum(one.truncated for one in notifications),
        "duplicates": replayed.duplicates,
        "heartbeats": replayed.heartbeats,
        "resolved_without_firing": replayed.astray,
        "incidents": [one.as_json() for one in replayed.incidents],
    }


def _print_test(wrong: Sequence[Mismatch], cases: int, failed: int, blind: Sequence[str]) -> None:
    console = terminal.console()
    for one in wrong:
        line = (
            f"FAILED  {visible(one.case)}: {one.field}: expected {visible(one.expected)}, "
            f"found {visible(one.found)}"
        )
        console.print(line, markup=False, soft_wrap=True)
    if blind:
        console.print(f"no example reaches: {', '.join(blind)}", markup=False, soft_wrap=True)
    console.print(f"{cases - failed} of {cases} examples are decided as expected")


def _print_replay(replayed: Replay, notifications: Sequence[Notification]) -> None:
    console = terminal.console()
    console.print(_incidents(replayed.incidents), markup=False)
    _say_rest(len(replayed.incidents))
    counted = {
        "notifications": len(notifications),
        "alerts": sum(len(one.alerts) for one in notifications),
        "incidents": len(replayed.incidents),
        "duplicates": replayed.duplicates,
        "heartbeats": replayed.heartbeats,
        "resolved without their firing": replayed.astray,
        "cut off by the sender": sum(one.truncated for one in notifications),
    }
    said = ", ".join(f"{what}: {number:,}" for what, number in counted.items() if number)
    console.print(said or "no notifications", soft_wrap=True)


def _incidents(incidents: Sequence[Reckoned]) -> Table:
    table = Table(
        *(Column(name, no_wrap=True) for name in ("#", "began (UTC)", "sev", "alerts", "ends")),
        *("group", "flow", "remedy", "owner", "alert names"),
        box=None,
        pad_edge=False,
    )
    for one in incidents[:_SHOWN]:
        table.add_row(
            str(one.number),
            f"{one.started_at:%Y-%m-%d %H:%M:%S}",
            one.severity.value,
            str(len(one.alerts)),
            _end(one),
            _cell(one.route.group_key),
            one.route.procedure,
            one.route.remedy.value,
            one.route.owner,
            _cell(", ".join(one.names[:3])),
        )
    return table


def _end(incident: Reckoned) -> str:
    if not incident.is_open:
        return "resolved"
    return "still fires" if incident.route.closes_on_resolve else "by a person"


def _print_differences(
    found: Sequence[Difference], mine: Sequence[Reckoned], theirs: Sequence[Reckoned]
) -> None:
    console = terminal.console()
    if not found and not mine and not theirs:
        console.print("no difference: the other policy makes the same of these alerts")
        return
    for one in found[:_SHOWN]:
        console.print(f"DIFFERS  {_cell(one.name)}, alerts: {one.alerts:,}", markup=False)
        for field, (here, there) in one.fields.items():
            line = f"  {field}: {_cell(here)} -> {_cell(there)}"
            console.print(line, markup=False, soft_wrap=True)
    _say_rest(len(found))
    for title, incidents in (("only here", mine), ("only there", theirs)):
        if incidents:
            console.print(f"incidents {title}: {len(incidents):,}")
            console.print(_incidents(incidents), markup=False)
            _say_rest(len(incidents))


def _say_rest(number: int) -> None:
    if number > _SHOWN:
        terminal.console().print(f"and {number - _SHOWN:,} more: see --json")


def _cell(value: object) -> str:
    return visible(value, _CELL)
