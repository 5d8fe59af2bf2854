"""`runbook restore` over the whole stack: from what a person types to the proven swap."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.exits import COULD_NOT_TELL, GOOD
from deployments.lab.environment import PROJECT
from deployments.lab.patient import DATABASE
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.work import journal, people
from tests.flows.responding import Responding, until

pytestmark = pytest.mark.flows

LONG = 240.0


@pytest.fixture
def token_file(responding: Responding, tmp_path: Path) -> Path:
    """Rosa's, who responds and may approve nothing."""
    file = tmp_path / "rosa.token"
    assert responding.lab
    file.write_text(people.add_person("rosa", "responder", timedelta(hours=1)))
    return file


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "deployments.cli", "restore", *map(str, arguments)]


def restore(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of the verb."""
    ended = subprocess.run(
        command(*arguments),
        env=os.environ,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def ask(responding: Responding, token_file: Path, target: str) -> dict[str, Any]:
    """What the verb asks the gateway, without waiting for what follows."""
    answer = httpx.post(
        f"{responding.lab.gateway_url}/restores",
        json={"target": target, "reason": "a test"},
        headers={"authorization": f"Bearer {token_file.read_text()}"},
        timeout=30,
    )
    return dict(answer.raise_for_status().json())


def test_a_stranger_restores_and_reads_what_happens(
    responding: Responding, token_file: Path, tmp_path: Path
) -> None:
    whole = responding.production().signed_rows
    responding.damage()
    assert responding.production().signed_rows != whole
    written = tmp_path / "restore.json"
    arguments = ("--to", "before-damage", "--token-file", token_file, "--json", written)
    printed = tmp_path / "printed.txt"
    with (
        printed.open("w") as output,
        subprocess.Popen(
            command(*arguments), cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT
        ) as watching,
        ExitStack() as afterwards,
    ):
        afterwards.callback(watching.kill)
        (incident,) = until(journal.all_incidents, "an incident")
        plan = responding.plan(incident)
        until(lambda: f"--plan {plan}" in printed.read_text(), "how to approve is printed")
        state = journal.read(incident)
        responding.decide(incident, plan, "approve")
        code = watching.wait(LONG)

    out = printed.read_text()
    assert code == GOOD, out
    assert (state.target_by, state.opened_by) == ("rosa", "rosa")
    assert state.stage is Stage.AWAITING_APPROVAL
    assert responding.production().signed_rows == whole
    for words in (
        f"{incident}: restore to before-damage",
        "the audit log is complete to its signed head; the other tables are as of",
        f"runbook approve {incident} --plan {plan}",
        "proof holds",
        f"{incident}: restored",
    ):
        assert words.lower() in " ".join(out.split()).lower()
    found = json.loads(written.read_text())
    assert (found["outcome"], found["proof"]["holds"]) == ("restored", True)
    assert found["plan"]["plan"]["observed"]["target"] == "before-damage"
    assert found["plan"]["plan"]["summary"].startswith(f"Restore {DATABASE} (before-damage)")


@pytest.mark.slow
def test_another_target_replaces_the_plan_and_one_that_nothing_reaches_ends_it(
    responding: Responding, token_file: Path
) -> None:
    before = responding.production()
    asked = ask(responding, token_file, "latest")
    incident = asked["incident"]
    first = responding.plan(incident)
    assert ask(responding, token_file, "latest") == asked | {"joined": True}
    assert journal.read(incident).plan_hash == first

    size = responding.lab.sealed_size
    assert ask(responding, token_file, f"size:{size}")["incident"] == incident
    second = responding.plan(incident, count=2)
    state = journal.read(incident)
    assert (state.plan_hash, str(state.target)) == (second, f"size:{size}")
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        responding.decide(incident, first, "approve")

    code, out, err = restore("--to", "2020-01-01 00:00Z", "--token-file", token_file)
    assert (code, err) == (COULD_NOT_TELL, "")
    assert f"{incident} stopped: expected a backup" in out
    assert responding.facts(incident, FactKind.STEP_STARTED) == []
    assert responding.production() == before


def test_a_dry_run_shows_the_plan_and_leaves_no_trace(
    responding: Responding, tmp_path: Path
) -> None:
    before, facts = responding.production(), journal.facts_after(-1)
    written = tmp_path / "plan.json"
    code, out, err = restore("--to", "latest", "--dry-run", "--json", written)
    assert (code, err) == (GOOD, "")
    text = " ".join(out.split())
    for words in ("inside it is clean", "as of", "it takes about", 'restore --to "latest"'):
        assert words in text
    assert json.loads(written.read_text())["plan"]["observed"]["target"] == "latest"
    assert responding.production() == before
    assert journal.facts_after(-1) == facts
