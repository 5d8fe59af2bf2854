"""`runbook policy`: show, test and replay, their exits, and what strangers wrote in recordings."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from deployments.exits import BAD, GOOD
from tasks.domain.policy import DEFAULT, RoutingPolicy, shipped_text
from tasks.settings import settings
from tests.commanding import Command, command, could_not_tell, environment
from tests.test_import_contracts import loaded_by, run_verb

__all__ = ["command", "environment"]

REST = """
[[routes]]
name = "rest"
matchers = []
component = "elsewhere"
procedure = "triage"
title = "Alert"
remedy = "manual"
"""
AT = "2026-03-14T03:00:00Z"


def body(*alerts: dict[str, Any], truncated: int = 0) -> dict[str, Any]:
    return {"version": "4", "alerts": list(alerts), "truncatedAlerts": truncated, "groupKey": "g"}


def alert(name: str, category: str, status: str = "firing", at: str = AT) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "category": category},
        "startsAt": at,
        "fingerprint": f"{zlib.crc32(name.encode()):08x}",
    }


def recorded(path: Path, *bodies: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in bodies))
    return path


# show


def test_the_shipped_policy_is_printed_as_it_is_and_can_be_ones_own(
    command: Command, tmp_path: Path
) -> None:
    ended = command("policy", "show")
    assert (ended.code, ended.err) == (GOOD, "")
    assert ended.out == shipped_text()
    assert RoutingPolicy.parse(ended.out).digest == DEFAULT.digest
    own = tmp_path / "own.toml"
    own.write_text(ended.out)
    assert command("policy", "test", "--policy", own).code == GOOD


# test


def test_the_shipped_examples_hold_for_the_shipped_policy(command: Command, tmp_path: Path) -> None:
    written = tmp_path / "tests.json"
    ended = command("policy", "test", "--json", written)
    assert (ended.code, ended.err) == (GOOD, "")
    said = json.loads(written.read_text())
    assert said["failed"] == 0
    assert said["cases"] > 30
    assert said["mismatches"] == said["untested_routes"] == []
    assert ended.out == f"{said['cases']} of {said['cases']} examples are decided as expected\n"


def test_an_example_that_is_decided_otherwise_is_exit_1_with_both_values(
    command: Command, tmp_path: Path
) -> None:
    tests, written = tmp_path / "tests.toml", tmp_path / "tests.json"
    tests.write_text(
        '[[tests]]\nname = "mine"\nlabels = {alertname = "DatabaseDown"}\n'
        'expect = {component = "api", remedy = "approval"}\n'
    )
    ended = command("policy", "test", tests, "--json", written)
    assert ended.code == BAD
    assert "FAILED  mine: component: expected api, found database" in ended.out.splitlines()
    assert "remedy" not in ended.out
    assert "no example reaches: watchdog, " in ended.out
    (wrong,) = json.loads(written.read_text())["mismatches"]
    assert wrong == {
        "case": "mine",
        "field": "component",
        "expected": "api",
        "found": "database",
    }


def test_the_policy_of_the_settings_is_tested_unless_another_is_named(
    command: Command, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    own, tests = tmp_path / "own.toml", tmp_path / "tests.toml"
    own.write_text(REST)
    tests.write_text('[[tests]]\nlabels = {a = "b"}\nexpect = {component = "elsewhere"}\n')
    assert command("policy", "test", tests).code == BAD
    environment.setenv("RUNBOOK_GATEWAY__POLICY_FILE", str(own))
    settings.cache_clear()
    assert command("policy", "test", tests).code == GOOD


@pytest.mark.parametrize(
    ("policy", "tests", "said"),
    [
        (REST.replace("triage", "rm"), None, 'own.toml: routes[1] (line 2) "rest": procedure: '),
        (REST, "[[tests]]\nlabels = {}", "tests.toml: tests[1] (line 1)"),
        (REST, "[[tests]", "tests.toml: expected TOML"),
        ("", None, "own.toml: routes: expected 1 to 500"),
    ],
)
def test_files_that_cannot_be_read_are_exit_2_by_name(
    command: Command, tmp_path: Path, policy: str, tests: str | None, said: str
) -> None:
    own, examples = tmp_path / "own.toml", tmp_path / "tests.toml"
    own.write_text(policy)
    named = []
    if tests is not None:
        examples.write_text(tests)
        named = [examples]
    could_not_tell(command("policy", "test", *named, "--policy", own), said)


# replay


def test_recorded_notifications_are_shown_as_the_incidents_that_they_start(
    command: Command, tmp_path: Path
) -> None:
    one = recorded(
        tmp_path / "one.jsonl",
        body(alert("DatabaseDown", "infrastructure"), alert("HighErrorRate", "operational")),
        body(alert("DatabaseDown", "infrastructure"), truncated=3),
        body(alert("Watchdog", "")),
    )
    other = tmp_path / "other.json"
    other.write_text(
        json.dumps(body(alert("AuditTrailIntegrityFailure", "audit", at=AT)), indent=2)
    )
    written = tmp_path / "replay.json"
    ended = command("policy", "replay", one, other, "--json", written)
    assert (ended.code, ended.err) == (GOOD, "")
    said = json.loads(written.read_text())
    found = [(made["group_key"], made["procedure"], made["severity"]) for made in said["incidents"]]
    assert found == [("database", "database", "P1"), ("audit-trail", "audit_trail", "P1")]
    assert [len(made["alerts"]) for made in said["incidents"]] == [2, 1]
    assert (said["notifications"], said["alerts"], said["truncated"]) == (4, 5, 3)
    assert (said["duplicates"], said["heartbeats"]) == (1, 1)
    assert "against" not in said
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[1][:5] == ["1", "2026-03-14", "03:00:00", "P1", "2"]
    assert "notifications: 4, alerts: 5, incidents: 2, duplicates: 1, heartbeats: 1" in ended.out


def test_two_policies_are_compared_alert_by_alert_and_incident_by_incident(
    command: Command, tmp_path: Path
) -> None:
    file = recorded(
        tmp_path / "some.jsonl",
        body(alert("DatabaseDown", "infrastructure"), alert("AuditLogStorageIssue", "audit")),
    )
    other, written = tmp_path / "other.toml", tmp_path / "replay.json"
    other.write_text(REST)
    ended = command("policy", "replay", file, "--against", other, "--json", written)
    assert (ended.code, ended.err) == (GOOD, "")
    assert "DIFFERS  DatabaseDown, alerts: 1" in ended.out
    assert "  component: database -> elsewhere" in ended.out.splitlines()
    against = json.loads(written.read_text())["against"]
    assert against["incidents_only_here"] == [1, 2]
    assert [len(made["alerts"]) for made in against["incidents_only_there"]] == [2]
    assert {one["name"] for one in against["differences"]} == {
        "DatabaseDown",
        "AuditLogStorageIssue",
    }

    other.write_text(shipped_text())
    ended = command("policy", "replay", file, "--against", other, "--json", written)
    assert "no difference" in ended.out
    assert json.loads(written.read_text())["against"]["differences"] == []


def test_what_a_stranger_wrote_is_shown_and_never_obeyed(command: Command, tmp_path: Path) -> None:
    name = "[red]x[/red]\x1b[2J\u202e" + "y" * 500
    file = recorded(tmp_path / "hostile.json", body(alert(name, "privacy")))
    ended = command("policy", "replay", file)
    assert ended.code == GOOD
    assert "\x1b" not in ended.out
    assert "\u202e" not in ended.out
    assert "[red]x[/red]" in ended.out
    assert "y" * 200 not in ended.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "hostile.json: body: expected JSON"),
        (b"{}", 'hostile.json: version: expected "4"'),
        (b"\xff\xfe", "hostile.json: body: expected UTF-8"),
        (b"[" * 100_000, "hostile.json: body: expected JSON nested at most"),
        (json.dumps(body()).encode() + b"\n{}\n", "hostile.json, line 2: version"),
        (json.dumps(body()).encode() + b"\n\n[" + b"[" * 99, "hostile.json, line 3: body"),
    ],
)
def test_a_recording_that_is_none_is_exit_2_with_its_place(
    command: Command, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "hostile.json"
    file.write_bytes(content)
    could_not_tell(command("policy", "replay", file), said)


def test_policy_verbs_never_load_prefect(tmp_path: Path) -> None:
    file = recorded(tmp_path / "one.json", body(alert("DatabaseDown", "infrastructure")))
    for arguments in (("policy", "test"), ("policy", "replay", str(file))):
        loaded, said = loaded_by(run_verb(*arguments))
        assert "EXIT 0" in said
        assert "prefect" not in loaded
