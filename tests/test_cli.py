"""The command's exits: 0 good, 1 bad, 2 could not tell, and one line instead of a traceback."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments import console
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from deployments.key_files import read_signer
from deployments.lab import prometheus
from deployments.lab.environment import PROJECT
from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab
from tasks.domain.ledger import KeyType, NoteSigner
from tasks.domain.plan import Plan, PlanStep
from tasks.settings import settings
from tests.clients import loopback
from tests.clients.loopback import answering, sending
from tests.commanding import Command, Ended, command, could_not_tell, environment, sealed_log
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, STRANGER, chained, sealed_files

__all__ = ["command", "environment"]

KEY = SIGNER.verifier.encoded
INCIDENT = "INC-20260314-030012-a1b2"
SECRET = "personal-token-of-bea"


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# key


def test_a_new_key_is_private_and_its_public_half_verifies_what_it_signs(
    command: Command, tmp_path: Path
) -> None:
    for options, kind in (((), KeyType.LOG), (("--witness",), KeyType.WITNESS)):
        file = tmp_path / f"{kind.name}.key"
        ended = command("key", "audit.example/lab", "--to", file, *options)
        assert (ended.code, ended.err) == (GOOD, "")
        signer = read_signer(file, kind)
        assert ended.out == signer.verifier.encoded + "\n"
        assert file.stat().st_mode & 0o777 == 0o600
    held = file.read_bytes()
    could_not_tell(command("key", "another", "--to", file), "new file")
    assert file.read_bytes() == held
    could_not_tell(command("key", "two words", "--to", tmp_path / "x"), "key name")


# verify


def test_a_sealed_directory_is_verified_and_its_json_says_the_same(
    command: Command, tmp_path: Path
) -> None:
    log, written = sealed_log(tmp_path / "log"), tmp_path / "verdict.json"
    ended = command("verify", log, "--log-key", KEY, "--origin", ORIGIN, "--json", written)
    assert (ended.code, ended.err) == (GOOD, "")
    assert ended.out.startswith("verified  300 records hashed")
    verdict = json.loads(written.read_text())
    assert (verdict["verdict"], verdict["findings"]) == ("verified", [])
    assert (verdict["records"], verdict["checkpoint"]["size"]) == (300, 300)
    assert verdict["checkpoint"]["root"] in ended.out


def test_one_altered_record_is_exit_1_and_named(command: Command, tmp_path: Path) -> None:
    lines = chained(300)
    files = sealed_files(lines)
    lines[123] = lines[123].replace(b'"event_type":"annotation"', b'"event_type":"Annotation"')
    files["seg/0-300.jsonl.zst"] = sealed_files(lines)["seg/0-300.jsonl.zst"]
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    ended = command("verify", tmp_path, "--log-key", KEY, "--origin", ORIGIN)
    assert ended.code == BAD
    assert ended.out.startswith("tampered")
    (row,) = [line.split() for line in ended.out.splitlines() if line.startswith("MODIFIED")]
    assert row[2] == "123"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--log-key", STRANGER.verifier.encoded, "--origin", ORIGIN), "unverifiable"),
        (("--log-key", KEY, "--origin", "audit.example/other"), "unverifiable"),
    ],
    ids=["another key", "another origin"],
)
def test_a_log_that_our_key_did_not_sign_is_exit_2_and_never_verified(
    command: Command,
    tmp_path: Path,
    options: tuple[str, ...],
    said: str,
) -> None:
    ended = command("verify", sealed_log(tmp_path), *options)
    assert ended.code == COULD_NOT_TELL
    assert ended.out.startswith(said)


def test_an_empty_directory_is_not_verified(command: Command, tmp_path: Path) -> None:
    ended = command("verify", tmp_path, "--log-key", KEY, "--origin", ORIGIN)
    assert ended.code != GOOD
    assert "verified " not in ended.out.replace("unverified", "")


def test_without_a_key_nothing_is_said_about_the_log(command: Command, tmp_path: Path) -> None:
    ended = command("verify", sealed_log(tmp_path))
    could_not_tell(ended, "RUNBOOK_LEDGER__LOG_KEY")
    assert ended.out == ""


@pytest.mark.parametrize("key", ["nonsense", "name+00000000+AAAA", "a+b", "\udcff"])
def test_a_key_that_is_none_is_exit_2(command: Command, tmp_path: Path, key: str) -> None:
    could_not_tell(command("verify", sealed_log(tmp_path), "--log-key", key), "key")


@pytest.mark.parametrize(
    "source",
    [
        "/no/such/directory",
        "/dev/null",
        "../" * 40 + "etc/passwd",
        "http://127.0.0.1/log",
        "\udcff\udcfe",
        "two\nlines \x1b[2J",
        "x" * 5000,
    ],
    ids=["absent", "device", "file", "another scheme", "no text", "escapes", "long"],
)
def test_a_source_that_is_none_is_exit_2_in_one_harmless_line(
    command: Command, source: str
) -> None:
    ended = command("verify", source, "--log-key", KEY)
    could_not_tell(ended, "expected a directory, s3://bucket/prefix or postgresql://")
    assert "\x1b" not in ended.err
    assert len(ended.err) < 2200


def test_a_link_in_the_log_is_not_followed(command: Command, tmp_path: Path) -> None:
    log = sealed_log(tmp_path / "log")
    segment = log / "seg/0-300.jsonl.zst"
    segment.rename(tmp_path / "elsewhere")
    segment.symlink_to(tmp_path / "elsewhere")
    assert command("verify", log, "--log-key", KEY, "--origin", ORIGIN).code != GOOD


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://ada:geheim@127.0.0.1:{port}/rlhf_audit", "did not answer"),
        ("postgresql://ada:geheim@127.0.0.1:99999999/x", ""),
        ("postgresql://ada:geheim@[::1/x", "cannot read"),
        ("postgresql://ada:geheim%zz@127.0.0.1/x", "cannot read"),
    ],
    ids=["nobody there", "no port", "no host", "no escape"],
)
def test_a_database_that_cannot_be_reached_is_exit_2_without_its_password(
    command: Command, tmp_path: Path, url: str, words: str
) -> None:
    log = sealed_log(tmp_path)
    source = url.format(port=dead_port())
    ended = command("verify", source, "--log-key", KEY, "--origin", ORIGIN, "--sealed-log", log)
    could_not_tell(Ended(ended.code, "", ended.err.strip().rpartition("\n")[2]), words)
    assert "geheim" not in ended.out + ended.err


def test_an_object_store_that_cannot_be_reached_is_exit_2(
    command: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("RUNBOOK_STORE__ENDPOINT_URL", f"http://127.0.0.1:{dead_port()}")
    environment.setenv("RUNBOOK_STORE__ACCESS_KEY_ID", "key")
    environment.setenv("RUNBOOK_STORE__SECRET_ACCESS_KEY", "secret")
    could_not_tell(command("verify", "s3://bucket/audit-logs/", "--log-key", KEY), "s3")


def test_json_that_cannot_be_written_is_exit_2(command: Command, tmp_path: Path) -> None:
    target = tmp_path / "no" / "such" / "folder.json"
    ended = command(
        "verify", sealed_log(tmp_path), "--log-key", KEY, "--origin", ORIGIN, "--json", target
    )
    could_not_tell(ended, str(target))


@pytest.mark.components
def test_the_labs_table_is_verified_until_somebody_alters_it(
    command: Command, patient: Lab, tmp_path: Path
) -> None:
    store = f"s3://{settings().store.backups_bucket}/{settings().store.audit_prefix}"
    until = time.monotonic() + 60  # the S3 server answers 500 until its volumes are there
    while (ended := command("verify", store)).code == COULD_NOT_TELL:
        assert time.monotonic() < until, ended
        time.sleep(0.2)
    assert ended.code == GOOD
    assert command("verify", patient.reader_dsn).code == GOOD
    with patient.patient.connect(DATABASE) as connection:
        connection.execute(
            "UPDATE audit_records SET record = convert_to(replace(convert_from(record, 'UTF8'),"
            " '\"event_type\":\"', '\"event_type\":\"X'), 'UTF8') WHERE seq = 77"
        )
        connection.execute("DELETE FROM audit_records WHERE seq BETWEEN 300 AND 304")
    written = tmp_path / "verdict.json"
    ended = command("verify", patient.reader_dsn, "--json", written)
    assert ended.code == BAD
    assert "tampered" in ended.out
    found = json.loads(written.read_text())["findings"]
    assert {(one["code"], one["seq"], one["count"]) for one in found} == {
        ("MODIFIED", 77, 1),
        ("DELETED", 300, 5),
    }
    assert command("verify", store).code == GOOD


# the verbs that talk to the gateway


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    return file


@pytest.mark.parametrize(
    "verb",
    [
        ("incidents",),
        ("report", INCIDENT),
        ("approve", INCIDENT),
        ("deny", INCIDENT, "--reason", "r"),
    ],
    ids=lambda verb: verb[0],
)
def test_every_verb_of_a_person_needs_a_token_and_a_gateway(
    command: Command, environment: pytest.MonkeyPatch, token_file: Path, verb: tuple[str, ...]
) -> None:
    environment.delenv(console.TOKEN_VARIABLE, raising=False)
    could_not_tell(command(*verb), f"set {console.TOKEN_VARIABLE}")
    gateway = ("--gateway", f"http://127.0.0.1:{dead_port()}", "--token-file", token_file)
    ended = command(*verb, *gateway)
    could_not_tell(ended, "to answer")
    assert SECRET not in ended.err


@pytest.mark.parametrize(
    "content",
    [
        "geheim-ä".encode(),
        b"geheim two words",
        b"geheim\nsecond line",
        b"geheim\x00",
        b"geheim\x1b[31m",
        b"geheim\xff\xfe",
        b"geheim" + b"x" * 507,
        b"geheim" * 1_000_000,
    ],
    ids=["letters", "space", "lines", "NUL", "escape", "no text", "513", "megabytes"],
)
def test_a_token_that_no_header_can_carry_is_exit_2_and_not_shown(
    command: Command, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    ended = command("incidents", "--token-file", file, "--gateway", "http://127.0.0.1:1")
    could_not_tell(ended, "at most 512 visible ASCII characters")
    assert "geheim" not in ended.err


@pytest.mark.parametrize("token", ["geheim ä", " geheim", "x" * 513])
def test_a_token_of_the_environment_is_checked_as_well(
    command: Command, environment: pytest.MonkeyPatch, token: str
) -> None:
    environment.setenv(console.TOKEN_VARIABLE, token)
    could_not_tell(command("incidents", "--gateway", "http://127.0.0.1:1"), console.TOKEN_VARIABLE)


def test_an_empty_token_file_and_none_are_exit_2(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv(console.TOKEN_VARIABLE, SECRET)
    empty = tmp_path / "empty"
    empty.touch()
    could_not_tell(command("incidents", "--token-file", empty), "found none")
    assert command("incidents", "--token-file", tmp_path / "absent").code == COULD_NOT_TELL


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html>",
        b"[]",
        b"{}",
        b"null",
        b'{"incidents": 5, "quarantine": 6}',
        b'{"incidents": [{"id": 1}], "quarantine": {"count": 0}}',
        b'{"incidents": [], "quarantine": {"count": 1, "newest": [3]}}',
    ],
)
def test_a_gateway_that_is_none_is_exit_2(command: Command, token_file: Path, body: bytes) -> None:
    with answering(sending(loopback.http(200, body))) as port:
        ended = command(
            "incidents", "--gateway", f"http://127.0.0.1:{port}", "--token-file", token_file
        )
    could_not_tell(ended, "expected")


def test_a_list_of_incidents_keeps_whole_ids_in_a_pipe_and_hides_nothing(
    command: Command, token_file: Path
) -> None:
    title = "[red]Audit trail[/] \x1b[2J\u202e" + "very long " * 30
    one = {
        "id": INCIDENT,
        "title": title,
        "severity": "P0",
        "stage": "awaiting approval",
        "closed_at": None,
        "outcome": "",
        "opened_at": "2026-03-14T03:00:12.250000+00:00",
    }
    newest = [{"received_at": "2026-03-14", "size": 9, "reason": "no [/] JSON"}]
    found = {"incidents": [one], "quarantine": {"count": 1, "newest": newest}}
    with answering(sending(loopback.http(200, json.dumps(found).encode()))) as port:
        ended = command(
            "incidents", "--gateway", f"http://127.0.0.1:{port}", "--token-file", token_file
        )
    assert (ended.code, ended.err) == (GOOD, "")
    assert INCIDENT in ended.out
    assert "2026-03-14T03:00:12+00:00" in ended.out
    assert "[red]Audit trail[/] [U+001B][2J[U+202E]" in ended.out
    assert "no [/] JSON" in ended.out
    assert "\x1b" not in ended.out
    assert max(map(len, ended.out.splitlines())) <= 160


def some_plan(summary: str = "mend it") -> Plan:
    step = PlanStep("recovery.db.swap", "swap [/]", "database/rlhf_audit", "nothing")
    at = datetime(2026, 3, 14, 4, tzinfo=UTC) + timedelta(minutes=30)
    return Plan(INCIDENT, "database_recovery", summary, (step,), {"oid": 1}, "nothing", at)


def plan_answer(plan: Plan, named: str) -> bytes:
    return loopback.http(200, json.dumps({"plan": plan.as_json(), "hash": named}).encode())


def decided(command: Command, token_file: Path, answers: list[bytes], *more: str) -> Ended:
    """`approve`, to a gateway that gives these answers in turn; it must not be asked for more."""
    waiting = iter(answers)

    def answer(connection: socket.socket) -> None:
        connection.sendall(next(waiting, b""))

    with answering(answer) as port:
        gateway = ("--gateway", f"http://127.0.0.1:{port}", "--token-file", token_file)
        ended = command("approve", INCIDENT, *gateway, *more)
    assert next(waiting, None) is None, "it has not asked for the rest"
    return ended


def test_a_plan_is_shown_whole_before_it_is_approved(command: Command, token_file: Path) -> None:
    plan = some_plan()
    yes = loopback.http(200, b'{"decision": "approved", "by": "bea"}')
    ended = decided(command, token_file, [plan_answer(plan, plan.hash), yes], "--plan", plan.hash)
    assert ended.code == GOOD
    for words in ("swap [/]", "database/rlhf_audit", plan.hash, f"{INCIDENT}: approved by bea"):
        assert words in ended.out


def test_a_plan_that_its_hash_does_not_name_is_never_decided(
    command: Command, token_file: Path
) -> None:
    plan = some_plan()
    other = replace(plan, summary="drop everything")
    ended = decided(command, token_file, [plan_answer(other, plan.hash)], "--plan", plan.hash)
    could_not_tell(ended, "do not decide")


def test_another_plan_than_the_one_that_was_read_is_never_decided(
    command: Command, token_file: Path
) -> None:
    plan, read = some_plan(), some_plan("an earlier one")
    ended = decided(command, token_file, [plan_answer(plan, plan.hash)], "--plan", read.hash)
    could_not_tell(ended, "read it")


def test_without_a_yes_nothing_is_decided(
    command: Command,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = some_plan()
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        ended = decided(command, token_file, [plan_answer(plan, plan.hash)])
    assert ended.code == COULD_NOT_TELL
    assert "Stopped." in ended.err


@pytest.mark.parametrize("status", [403, 404, 409, 422])
def test_a_refusal_of_the_gateway_is_exit_2_with_its_reason(
    command: Command, token_file: Path, status: int
) -> None:
    plan = some_plan()
    refusal = {"error": "not open", "expected": "x", "found": "too \x1b late", "next": "read it"}
    answers = [
        plan_answer(plan, plan.hash),
        loopback.http(status, json.dumps(refusal).encode()),
    ]
    ended = decided(command, token_file, answers, "--plan", plan.hash)
    assert ended.code == COULD_NOT_TELL
    assert ended.err.strip() == "not open: too [U+001B] late; read it"


def test_a_report_with_other_bytes_than_the_journal_names_is_not_kept(
    command: Command, token_file: Path, tmp_path: Path
) -> None:
    named = {form: {"sha256": "ab" * 32} for form in ("html", "pdf")}
    state: dict[str, Any] = {"report": named, "stage": "closed"}
    answers = [json.dumps(state).encode(), b"<p>another report</p>"]
    waiting = iter(answers)

    def answer(connection: socket.socket) -> None:
        connection.sendall(loopback.http(200, next(waiting)))

    kept = tmp_path / "kept"
    with answering(answer) as port:
        gateway = ("--gateway", f"http://127.0.0.1:{port}", "--token-file", token_file)
        ended = command("report", INCIDENT, *gateway, "--to", kept)
    could_not_tell(ended, "expected a report with SHA-256")
    assert list(kept.iterdir()) == []


def test_a_report_without_a_seal_leaves_no_seal_of_an_older_one(
    command: Command, token_file: Path, tmp_path: Path
) -> None:
    page = b"<p>a report</p>"
    named = {form: {"sha256": hashlib.sha256(page).hexdigest()} for form in ("html", "pdf")}
    state: dict[str, Any] = {"report": named, "stage": "closed"}
    waiting = iter([json.dumps(state).encode(), page, page])

    def answer(connection: socket.socket) -> None:
        connection.sendall(loopback.http(200, next(waiting)))

    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / f"{INCIDENT}.seal").write_text("of an older report")
    with answering(answer) as port:
        gateway = ("--gateway", f"http://127.0.0.1:{port}", "--token-file", token_file)
        command("report", INCIDENT, *gateway, "--to", kept)
    assert {file.suffix for file in kept.iterdir()} == {".html", ".pdf"}


# doctor, demo, and what is no verb


def test_doctor_finds_nothing_where_nothing_is_and_shows_no_password(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = dead_port()
    there = f"127.0.0.1:{port}"
    for name, value in {
        "API__URL": f"http://{there}",
        "DATABASE__READER_DSN": f"postgresql://r:geheim@{there}/rlhf_audit",
        "DATABASE__RECOVERY_DSN": "postgresql://r:geheim%zz@nowhere/x",
        "CACHE__URL": f"redis://:geheim@{there}/0",
        "METRICS__PROMETHEUS_URL": f"http://{there}",
        "STORE__ENDPOINT_URL": f"http://{there}",
        "STORE__ACCESS_KEY_ID": "key",
        "STORE__SECRET_ACCESS_KEY": "geheim",
        "LEDGER__LOG_KEY": KEY,
        "RESPONDER__DSN": f"postgresql://r:geheim@{there}/responder",
        "CHAT__URL": f"http://{there}",
        "CHAT__TOKEN": "geheim ä",
        "GATEWAY__URL": f"http://{there}",
        "GATEWAY__ALERT_TOKENS": '["geheim"]',
        "DATABASE__CLIENT_BINARIES": str(tmp_path),
        "DASK__SCHEDULER": f"tcp://{there}",
        "DASK__CONNECT_SECONDS": "1",
    }.items():
        environment.setenv(f"RUNBOOK_{name}", value)
    written = tmp_path / "doctor.json"
    ended = command("doctor", "--json", written)
    assert (ended.code, ended.err) == (COULD_NOT_TELL, "")
    examined = {one["system"]: one for one in json.loads(written.read_text())}
    good = [name for name, one in examined.items() if one["good"]]
    assert good == ["routing policy", "alert tokens", "hashing", "table reader"]
    assert examined["table reader"]["advice"]  # psycopg reads, so it works all the same
    assert f"no Dask scheduler answers at tcp://{there}" in examined["hashing workers"]["seen"]
    assert all(one["advice"] for one in examined.values() if not one["good"])
    assert "geheim" not in ended.out + written.read_text()


@pytest.mark.components
@pytest.mark.usefixtures("patient")
def test_doctor_finds_everything_of_the_lab_but_what_was_not_started(
    command: Command, tmp_path: Path
) -> None:
    written = tmp_path / "doctor.json"
    ended = command("doctor", "--json", written)
    examined = {one["system"]: one for one in json.loads(written.read_text())}
    bad = {name for name, one in examined.items() if not one["good"]}
    # Alertmanager for want of a gateway that it could send to; of Loki there is no package, and
    # PagerDuty is nowhere
    absent = {"gateway", "Alertmanager", "Loki", "on-call schedules"}
    assert bad == (absent if prometheus.installed() else {*absent, "Prometheus"})
    assert ended.code == COULD_NOT_TELL
    for name in examined:
        assert name in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("verify",),
        ("verify", "--nonsense", "x"),
        ("demo", "--records", "many"),
        ("demo", "--records", "1"),
        ("deny", INCIDENT),
    ],
    ids=" ".join,
)
def test_what_the_command_does_not_know_is_exit_2(
    command: Command, arguments: tuple[str, ...]
) -> None:
    ended = command(*arguments)
    assert (ended.code, ended.out) == (COULD_NOT_TELL, "")
    assert "Error: " in ended.err
    assert "Traceback" not in ended.err


def test_a_scenario_that_does_not_exist_is_exit_2_with_those_that_do(command: Command) -> None:
    could_not_tell(command("demo", "--scenario", "nonsense"), "tampered-records")


def test_the_scenarios_are_listed(command: Command) -> None:
    ended = command("demo", "--list")
    assert ended.code == GOOD
    assert "tampered-records" in ended.out


def test_a_wrong_setting_is_exit_2_with_its_name_and_without_its_value(
    command: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("RUNBOOK_GATEWAY__ALERT_TOKENS", "geheim")
    settings.cache_clear()
    ended = command("verify", "/tmp")
    could_not_tell(ended, "settings")
    assert "geheim" not in ended.err


def test_the_process_itself_exits_as_the_verb_says(tmp_path: Path) -> None:
    log = sealed_log(tmp_path / "log")
    codes = []
    for key in (KEY, NoteSigner.generate(ORIGIN).verifier.encoded, "nonsense"):
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "deployments.cli", "verify", log),
                *("--log-key", key, "--origin", ORIGIN),
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in ended.stderr
        codes.append(ended.returncode)
    assert codes == [GOOD, COULD_NOT_TELL, COULD_NOT_TELL]
