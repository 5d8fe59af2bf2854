"""`runbook restore`: what is typed wrongly is answered with what to type, and changes nothing."""

import json

import pytest

from deployments.exits import COULD_NOT_TELL
from tests.clients import loopback
from tests.clients.loopback import answering
from tests.commanding import Command, command, could_not_tell, environment

__all__ = ["command", "environment"]

INCIDENT = "INC-20260314-030012-a1b2"


@pytest.fixture
def token(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RUNBOOK_TOKEN", "personal-token-of-bea")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ((), "expected --to TARGET"),
        (("--to", "latest", "--list"), "--list goes with --json alone"),
        (("--to", "latest", "--dry-run", "--yes"), "leave --yes out"),
    ],
)
def test_options_that_do_not_go_together_are_explained(
    command: Command, typed: tuple[str, ...], answer: str
) -> None:
    ended = command("restore", *typed)
    assert ended.code == COULD_NOT_TELL
    assert answer in ended.err


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("2026-11-22 14:05", "type 2026-11-22 14:05Z if it is UTC"),
        ("2026-11-22", "add the time of day"),
        ("yesterday", "expected latest, before-damage, size:50000 or a time"),
        ("2026-02-30 10:00Z", "a moment that exists"),
        ("\x1b[2J", "expected latest"),
    ],
)
@pytest.mark.usefixtures("token")
def test_a_target_that_is_none_is_refused_before_anybody_is_asked(
    command: Command, target: str, answer: str
) -> None:
    for more in ((), ("--dry-run",)):
        could_not_tell(command("restore", "--to", target, *more), answer)


def test_without_a_token_nobody_is_asked(command: Command) -> None:
    could_not_tell(command("restore", "--to", "latest"), "your personal token")


@pytest.mark.usefixtures("token")
def test_yes_is_for_the_lab_alone(command: Command) -> None:
    could_not_tell(command("restore", "--to", "latest", "--yes"), "--yes is for the lab")


@pytest.mark.usefixtures("token")
def test_a_gateway_that_does_not_answer_is_named(command: Command) -> None:
    ended = command("restore", "--to", "latest", "--gateway", "http://127.0.0.1:9")
    could_not_tell(ended, "127.0.0.1:9")


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("status", [403, 404, 409, 422])
def test_what_the_gateway_refuses_is_said_and_is_exit_two(command: Command, status: int) -> None:
    said = {"error": "not now", "expected": "x", "found": "it is carried out", "next": "wait"}
    with answering(loopback.sending(loopback.http(status, json.dumps(said).encode()))) as port:
        ended = command("restore", "--to", "latest", "--gateway", f"http://127.0.0.1:{port}")
    assert (ended.code, ended.err) == (COULD_NOT_TELL, "not now: it is carried out; wait\n")


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("value", [{}, {"incident": INCIDENT}, []])
def test_somebody_who_is_no_gateway_of_ours_is_told_from_one(
    command: Command, value: object
) -> None:
    with answering(loopback.sending(loopback.http(200, json.dumps(value).encode()))) as port:
        ended = command("restore", "--to", "latest", "--gateway", f"http://127.0.0.1:{port}")
    could_not_tell(ended, "is its URL right?")


def test_help_says_what_a_stranger_needs(command: Command) -> None:
    ended = command("restore", "--help")
    for words in ("2026-11-22 14:05Z", "before-damage", "--dry-run", "Nothing is destroyed"):
        assert words in " ".join(ended.out.split())
