"""`runbook token`: how people get a token, are listed, and lose it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.exits import GOOD
from tasks.settings import settings
from tasks.work import people, responder
from tasks.work.people import Person, Role
from tests.commanding import Command, Ended, command, could_not_tell

__all__ = ["command"]

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]


def new(command: Command, *arguments: object) -> str:
    """The token that was printed."""
    made = command("token", "new", *arguments)
    assert made.code == GOOD, made
    assert made.out.count("\n") == 1
    return made.out.rstrip("\n")


def refused(ended: Ended) -> None:
    assert ended.code == 2
    assert ended.out == ""
    with responder.connection() as connection:
        assert connection.execute("SELECT count(*) FROM tokens").fetchone() == (0,)


def days_left() -> float:
    (known,) = people.listed()
    assert known.expires_at is not None
    return (known.expires_at - datetime.now(UTC)) / timedelta(days=1)


def test_what_is_printed_is_the_persons_token_and_nothing_else(command: Command) -> None:
    made = command("token", "new", "bea", "--role", "privacy-officer")
    token = made.out.removesuffix("\n")
    assert people.authenticate(token) == Person("bea", Role.PRIVACY_OFFICER)
    assert token not in made.err
    assert "bea (privacy-officer)" in made.err
    assert 89.9 < days_left() < 90.1


def test_days_say_for_how_long_it_is_valid(command: Command) -> None:
    new(command, "bea", "--role", "viewer", "--days", 7)
    assert 6.9 < days_left() < 7.1


def test_a_file_for_the_token_is_new_and_its_owners_alone(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "token"
    made = command("token", "new", "bea", "--role", "viewer", "--out", file)
    assert (made.code, made.out) == (GOOD, "")
    assert file.stat().st_mode & 0o777 == 0o600
    token = file.read_text().removesuffix("\n")
    assert people.authenticate(token) is not None
    assert token not in made.err
    could_not_tell(command("token", "new", "bea", "--role", "viewer", "--out", file), "new file")
    assert file.read_text() == token + "\n"
    assert len(people.listed()) == 1


def test_where_no_token_is_made_no_file_is_left(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "token"
    could_not_tell(command("token", "new", "runbook", "--role", "viewer", "--out", file), "own")
    assert not file.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["bea"],
        ["bea", "--role", "king"],
        ["", "--role", "viewer"],
        ["b\x1bea", "--role", "viewer"],
        ["b\u0435a", "--role", "viewer"],
        ["policy", "--role", "viewer"],
        ["bea", "--role", "viewer", "--days", "0"],
        ["bea", "--role", "viewer", "--days", "366"],
        ["bea", "--role", "viewer", "--no-token", "--days", "3"],
        ["bea", "--role", "viewer", "--no-token", "--out", "f"],
    ],
)
def test_bad_input_is_exit_2_and_makes_nobody(command: Command, arguments: list[str]) -> None:
    refused(command("token", "new", *arguments))
    assert people.listed() == []


def test_another_role_is_refused_until_it_is_meant(command: Command) -> None:
    token = new(command, "bea", "--role", "responder")
    again = command("token", "new", "Bea", "--role", "approver")
    could_not_tell(again, "--change-role")
    new(command, "bea", "--role", "approver", "--change-role")
    assert people.authenticate(token) == Person("bea", Role.APPROVER)


def test_without_a_token_a_person_may_come_by_the_proxy(command: Command) -> None:
    made = command("token", "new", "bea@example.org", "--role", "viewer", "--no-token")
    assert made.code == GOOD
    assert people.find_proxied("bea@example.org") == Person("bea@example.org", Role.VIEWER)
    (known,) = people.listed()
    assert known.expires_at is None


def test_the_list_says_who_may_what_until_when_and_nothing_secret(
    command: Command, tmp_path: Path
) -> None:
    token = new(command, "bea", "--role", "approver", "--days", 30)
    command("token", "new", "dana", "--role", "security", "--no-token")
    people.add_person("late", "viewer", -timedelta(hours=1))
    people.authenticate(token)
    shown = command("token", "list", "--json", tmp_path / "list")
    assert shown.code == GOOD
    lines = {line.split()[0]: line for line in shown.out.splitlines()}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert today in lines["bea"]
    assert "no token" in lines["dana"]
    assert "yes" in lines["dana"]
    assert "expired" in lines["late"]
    assert "never" in lines["late"]
    written = (tmp_path / "list").read_text()
    assert [one["role"] for one in json.loads(written)] == ["approver", "security", "viewer"]
    assert token not in shown.out + written


def test_a_revoked_token_is_nobodys(command: Command) -> None:
    tokens = [new(command, "bea", "--role", "approver") for _ in range(2)]
    ended = command("token", "revoke", "BEA")
    assert ended.code == GOOD
    assert "2 valid token" in ended.out
    assert [people.authenticate(token) for token in tokens] == [None, None]
    could_not_tell(command("token", "revoke", "carl"), "known person")


def test_a_database_that_does_not_answer_is_exit_2_in_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNBOOK_RESPONDER__DSN", "postgresql://127.0.0.1:9/none")
    settings.cache_clear()
    responder.close()
    file = tmp_path / "token"
    made = command("token", "new", "bea", "--role", "viewer", "--out", file)
    could_not_tell(made, "RUNBOOK_RESPONDER__DSN")
    assert made.out == ""
    assert not file.exists()
