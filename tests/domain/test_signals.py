"""What a plan says of the sessions that it names, read back without trust."""

import json

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE, ending_of
from tasks.domain.signals import MOST_SESSIONS, SessionKey, Why, keys_in
from tests.domain.database_sessions import idle, session


def test_a_session_comes_back_from_the_journal_as_it_was() -> None:
    for seen in (session(7), idle(8, 30)):
        key = SessionKey.from_json(json.loads(json.dumps(seen.key())))
        assert (key.pid, key.backend_start, key.digest) == (
            seen.pid,
            seen.backend_start,
            seen.digest,
        )
        assert (key.xact_start, key.state_change) == (seen.xact_start, seen.state_change)


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "7"},
        {"pid": True},
        {"digest": None},
        {"backend_start": None},
        {"backend_start": "yesterday"},
        {"backend_start": "2026-03-02T03:00:00"},
        {"xact_start": 5},
        {"user": 1},
    ],
)
def test_a_session_that_is_not_named_whole_is_none(change: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        SessionKey.from_json(session(7).key() | change)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"why": "I want to", "sessions": []},
        {"why": "blocks others", "sessions": "all"},
        {"why": "blocks others", "sessions": [session(7).key()] * (MOST_SESSIONS + 1)},
        {"why": "blocks others", "sessions": [None]},
    ],
)
def test_arguments_that_say_no_reason_or_no_sessions_are_refused(
    arguments: dict[str, object],
) -> None:
    with pytest.raises(BadInput):
        keys_in(arguments)


def test_the_remedy_names_each_session_and_what_is_lost() -> None:
    remedy = ending_of([session(7), session(8)], Why.BLOCKS, "database/x")
    assert remedy is not None
    assert "7 (audit_api), 8 (audit_api)" in remedy.action
    assert "not committed" in remedy.destroys
    why, keys = keys_in(remedy.arguments)
    assert (why, [key.pid for key in keys]) == (Why.BLOCKS, [7, 8])
    assert remedy.step == TERMINATE != CANCEL
    relief = ending_of([idle(9, 99)], Why.IDLE, "database/x")
    assert relief is not None
    assert relief.step == RELIEVE


def test_without_a_session_there_is_no_remedy() -> None:
    assert ending_of([], Why.IDLE, "database/x") is None
