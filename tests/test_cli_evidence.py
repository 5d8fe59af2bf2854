"""`runbook bundle verify` of a bag of evidence: exits, and what is said of what is wrong."""

import json
from pathlib import Path

import pytest

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.collection import CUSTODY
from tests.commanding import Command, command, environment
from tests.tasks.evidence_bags import KEYS, copied, store, stored

__all__ = ["command", "copied", "environment", "store", "stored"]

pytestmark = pytest.mark.components

KEY = KEYS[0].encoded
OWN_KEY = 3


@pytest.fixture
def bag(copied: dict[str, bytes], tmp_path: Path) -> Path:
    for name, data in copied.items():
        file = tmp_path / "bag" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "bag"


def test_a_copied_bag_is_verified_without_the_store_it_came_from(
    command: Command, bag: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said.json"
    ended = command("bundle", "verify", bag, "--key", KEY, "--json", said)
    assert ended.code == GOOD, ended
    assert "whole" in ended.out
    assert "skipped    hba: permission denied for pg_hba_file_rules" in ended.out
    found = json.loads(said.read_text())
    assert (found["verdict"], found["problems"]) == ("whole", [])
    assert [each["id"] for each in found["items"]] == ["sessions", "logs"]
    head = f"{found['custody']['entries']}:{found['custody']['hash']}"
    assert command("bundle", "verify", bag, "--key", KEY, "--custody", head).code == GOOD
    other = f"1:{'0' * 64}"
    assert command("bundle", "verify", bag, "--key", KEY, "--custody", other).code == BAD


def test_under_its_own_key_alone_it_proves_less(command: Command, bag: Path) -> None:
    ended = command("bundle", "verify", bag)
    assert ended.code == OWN_KEY, ended
    assert "then give --key" in ended.err


def test_a_changed_byte_of_the_custody_log_is_tampering_and_named(
    command: Command, bag: Path
) -> None:
    file = bag / CUSTODY
    file.write_bytes(file.read_bytes().replace(b"suspected", b"suspeded!", 1))
    ended = command("bundle", "verify", bag, "--key", KEY)
    assert ended.code == BAD
    assert "problem    data/custody.jsonl: " in ended.out


@pytest.mark.parametrize("options", [("--key", "nonsense"), ("--custody", "7")])
def test_what_nobody_can_mean_is_exit_2(
    command: Command, bag: Path, options: tuple[str, str]
) -> None:
    ended = command("bundle", "verify", bag, *options)
    assert ended.code == COULD_NOT_TELL
    assert "Traceback" not in ended.err
