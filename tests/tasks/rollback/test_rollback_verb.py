"""`runbook rollback` shows the history and the plan, and changes nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deployments.cli import cli
from deployments.exits import BAD, GOOD
from deployments.lab.kubernetes.manifests import BUSYBOX, MISSING
from tasks.domain.errors import BadInput
from tasks.work import journal
from tests.tasks.rollback.releases import TARGET, Releases

pytestmark = pytest.mark.components


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["rollback", *arguments])


def test_it_prints_history_and_plan_and_touches_nothing(broken: Releases, tmp_path: Path) -> None:
    written = tmp_path / "found.json"
    found = run("--json", str(written))
    assert found.exit_code == GOOD, found.output
    assert "3 *" in found.output
    assert "healthy: 3 of 3 replicas are available now" in found.output
    assert "image of api: registry.local/missing:9 -> registry.local/busybox:1" in found.output
    assert "only if the rollback fails" in found.output
    said = json.loads(written.read_text(encoding="utf-8"))
    assert [each["revision"] for each in said["revisions"]] == [3, 2, 1]
    assert said["plan"]["observed"]["good"]["images"] == [BUSYBOX]
    assert (broken.patches, broken.images, journal.open_incidents()) == ([], (MISSING,), [])


def test_without_a_way_back_it_says_why_and_a_person_can_name_one(
    serving: Releases, tmp_path: Path
) -> None:
    found = run(TARGET)
    assert found.exit_code == BAD
    assert "no revision besides 3 was healthy by evidence" in found.output
    written = tmp_path / "found.json"
    named = run(TARGET, "--to", "2", "--json", str(written))
    assert named.exit_code == GOOD, named.output
    plan = json.loads(written.read_text(encoding="utf-8"))["plan"]
    assert "known good: a person has named this revision" in plan["steps"][0]["action"]
    wrong = run(TARGET, "--to", "17")
    assert isinstance(wrong.exception, BadInput)
    assert serving.patches == []


def test_a_refused_patch_is_shown_with_the_missing_grant(broken: Releases) -> None:
    broken.without("remediate", "patch", "deployments")
    found = run()
    assert found.exit_code == BAD
    assert "grant the verb patch on deployments" in found.output
