"""The policy in force: one's own file, read again when it changes; a broken one is refused."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.errors import BadInput
from tasks.domain.policy import DEFAULT
from tasks.settings import settings
from tasks.work import routing

ALERT = Alert("f", AlertStatus.FIRING, datetime(2026, 3, 14, tzinfo=UTC), {"alertname": "X"}, {})
SOON = 20.0


def policy(component: str) -> str:
    return (
        '[[routes]]\nname = "rest"\nmatchers = []\nprocedure = "triage"\ntitle = "Alert"\n'
        f'remedy = "manual"\ncomponent = "{component}"\n'
    )


def replace(path: Path, text: str) -> None:
    """As an editor or a mounted configuration does: another file under the same name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def component() -> str:
    return routing.current().route(ALERT).component


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.delenv("RUNBOOK_GATEWAY__POLICY_FILE", raising=False)
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def file(tmp_path: Path, environment: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy.toml"
    environment.setenv("RUNBOOK_GATEWAY__POLICY_FILE", str(path))
    return path


@pytest.mark.usefixtures("environment")
def test_without_a_file_the_shipped_policy_is_in_force() -> None:
    assert routing.current() is DEFAULT
    assert routing.problem() == ""


def test_a_changed_file_is_in_force_soon_and_a_broken_or_lost_one_is_refused(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(policy("one"))
    assert component() == "one"
    assert routing.problem() == ""

    file.write_text(policy("two"))
    eventually(lambda: component() == "two")

    with caplog.at_level(logging.WARNING):
        replace(file, policy("three").replace("triage", "trriage"))
        eventually(lambda: routing.problem() != "")
    assert component() == "two"
    assert 'policy.toml: routes[1] (line 1) "rest": procedure: expected one of' in routing.problem()
    assert "the one before stays in force" in caplog.text

    replace(file, policy("four"))
    eventually(lambda: component() == "four")
    assert routing.problem() == ""

    file.unlink()
    eventually(lambda: routing.problem() != "")
    assert component() == "four"
    assert "expected a file, found none" in routing.problem()

    file.write_text(policy("five"))
    eventually(lambda: component() == "five")
    assert routing.problem() == ""


def test_a_refused_file_is_told_once_and_not_read_again_until_it_changes(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(policy("one"))
    assert component() == "one"
    with caplog.at_level(logging.WARNING):
        file.write_text("[[routes]]")
        eventually(lambda: routing.problem() != "")
        end = time.monotonic() + 2.5 * routing.LOOK_EVERY
        while time.monotonic() < end:
            assert component() == "one"
            time.sleep(0.05)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("text", [None, "", "[[routes]]\nname = 1", "x" * 300_000])
def test_a_first_file_that_is_no_policy_is_bad_input(file: Path, text: str | None) -> None:
    if text is not None:
        file.write_text(text)
    for _ in range(2):
        with pytest.raises(BadInput):
            routing.current()
    file.write_text(policy("mended"))
    assert component() == "mended"


def test_many_threads_see_one_policy_or_the_next_and_never_a_part(file: Path) -> None:
    file.write_text(policy("c0"))
    wrong: list[str] = []
    ends = time.monotonic() + 2.5 * routing.LOOK_EVERY
    newest = 0

    def ask() -> None:
        last = 0
        while time.monotonic() < ends:
            seen = int(component().removeprefix("c"))
            if seen < last or routing.problem():
                wrong.append(f"c{seen} after c{last} {routing.problem()}")
            last = seen

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while time.monotonic() < ends:
        newest += 1
        replace(file, policy(f"c{newest}"))
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert wrong == []
    eventually(lambda: component() == f"c{newest}")
