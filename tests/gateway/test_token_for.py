"""How a person gets a token."""

import pytest
from click.testing import CliRunner, Result

from deployments.gateway.token_for import main
from tasks.settings import settings
from tasks.work import people, responder
from tasks.work.people import Person, Role

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_token_that_is_printed_is_the_persons_and_nothing_else_is() -> None:
    made = run("bea", "approver")
    assert made.exit_code == 0
    token = made.stdout.removesuffix("\n")
    assert people.authenticate(token) == Person("bea", Role.APPROVER)


def test_days_say_for_how_long_it_is_valid() -> None:
    run("bea", "viewer", "--days", "7")
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT expires_at BETWEEN now() + '167 h' AND now() + '169 h' FROM people"
        ).fetchone()
    assert row == (True,)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bea"],
        ["bea", "king"],
        ["", "viewer"],
        ["b\x1bea", "viewer"],
        ["bea", "viewer", "--days", "0"],
        ["bea", "viewer", "--days", "soon"],
    ],
)
def test_bad_input_is_exit_2_and_makes_nobody(arguments: list[str]) -> None:
    made = run(*arguments)
    assert made.exit_code == 2
    assert made.stdout == ""
    with responder.connection() as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (0,)


def test_database_that_does_not_answer_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_RESPONDER__DSN", "postgresql://127.0.0.1:9/none")
    settings.cache_clear()
    responder.close()
    made = run("bea", "viewer")
    assert made.exit_code == 1
    assert made.stdout == ""
    assert "RUNBOOK_RESPONDER__DSN" in made.stderr
