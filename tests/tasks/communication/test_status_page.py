"""The status page: drafted, approved by a person, published once, on Statuspage or as files."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.lab.statuspage import Page, create_app
from tasks.clients.errors import Denied, Throttled, Transient
from tasks.domain.errors import BadInput, NotApproved, NotPermitted
from tasks.domain.escalation import due_steps
from tasks.domain.facts import FactKind
from tasks.domain.messages import Moment
from tasks.domain.roles import Role
from tasks.domain.status_drafts import Draft, standings
from tasks.work import escalating, incidents, journal, responder, status_files, status_page
from tasks.work.people import Person
from tests.gateway.stack import served
from tests.tasks.communication.conftest import setting

pytestmark = pytest.mark.components

HOSTILE = "<script>alert(1)</script> jane.doe@example.org"
ANNA = Person("anna", Role.APPROVER)
RICO = Person("rico", Role.RESPONDER)


@pytest.fixture
def incident(database: str) -> str:
    assert database
    name = incidents.declare(HOSTILE, "database", "database", "anna", starts_run=False)
    journal.append(name, FactKind.SEVERITY_ASSIGNED, {"severity": "P0"})
    return name


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    setting(monkeypatch, "STATUS_PAGE__DIRECTORY", str(tmp_path / "status"))
    return tmp_path / "status"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    theirs = Page("kctbh9vrtdwd", "key-of-the-page", per_minute=30)
    with served(create_app(theirs)) as url:
        setting(monkeypatch, "STATUS_PAGE__URL", f"{url}/v1")
        setting(monkeypatch, "STATUS_PAGE__PAGE_ID", theirs.name)
        setting(monkeypatch, "STATUS_PAGE__API_KEY", theirs.api_key)
        yield theirs


def drafted(incident: str, moment: Moment = Moment.OPENED) -> Draft:
    made = status_page.draft_for(incident, moment)
    assert made is not None
    return made


def publish(incident: str, *, last_try: bool = True) -> None:
    """What the escalation's run does."""
    now = datetime.now(UTC)
    for due in due_steps(journal.read(incident), now):
        if due.step.startswith("status-page."):
            escalating.take(incident, due, now, last_try=last_try)


def test_nothing_is_public_before_a_person_says_so_and_then_the_files_say_it(
    incident: str, directory: Path
) -> None:
    made = drafted(incident)
    publish(incident)
    assert not directory.exists()
    status_page.approve(incident, ANNA, made.hash)
    for _ in range(2):
        publish(incident)
    state = json.loads((directory / "status.json").read_text())
    (shown,) = state["incidents"]
    assert (shown["name"], shown["status"]) == ("Investigating: the database", "investigating")
    assert len(shown["updates"]) == 1
    html = (directory / "index.html").read_text()
    assert "There is a problem" in html
    for private in ("jane", "alert(1)", incident, "P0"):
        assert private not in html + str(state)


def test_the_end_follows_what_was_public_and_the_page_is_well_again(
    incident: str, directory: Path
) -> None:
    status_page.approve(incident, ANNA, drafted(incident).hash)
    publish(incident)
    journal.append(incident, FactKind.CLOSED, {"outcome": "restored"}, key="closed")
    status_page.approve(incident, ANNA, drafted(incident, Moment.CLOSED).hash)
    publish(incident)
    (shown,) = json.loads((directory / "status.json").read_text())["incidents"]
    assert shown["status"] == "resolved"
    assert [each["status"] for each in shown["updates"]] == ["resolved", "investigating"]
    assert "All systems work" in (directory / "index.html").read_text()


def test_what_never_was_public_needs_no_end_and_a_small_incident_no_beginning(
    incident: str, directory: Path
) -> None:
    assert directory
    assert status_page.draft_for(incident, Moment.CLOSED) is None
    small = incidents.declare("t", "cache", "cache", "anna", starts_run=False)
    journal.append(small, FactKind.SEVERITY_ASSIGNED, {"severity": "P2"})
    assert status_page.draft_for(small, Moment.OPENED) is None


def test_without_a_page_nothing_is_drafted_and_nobody_can_approve(incident: str) -> None:
    assert status_page.draft_for(incident, Moment.OPENED) is None
    with pytest.raises(BadInput, match="RUNBOOK_STATUS_PAGE"):
        status_page.ask_for_draft(incident, ANNA, Moment.OPENED)


def test_only_who_answers_for_it_approves_and_only_what_was_drafted(
    incident: str, directory: Path
) -> None:
    assert directory
    made = drafted(incident)
    with pytest.raises(NotPermitted):
        status_page.approve(incident, RICO, made.hash)
    with pytest.raises(BadInput, match="runbook status-page"):
        status_page.approve(incident, ANNA, "0" * 64)
    assert due_steps(journal.read(incident), datetime.now(UTC)) == ()


def test_an_older_draft_is_refused_when_a_newer_one_is_approved(
    incident: str, directory: Path
) -> None:
    assert directory
    first = drafted(incident)
    status_page.ask_for_draft(incident, ANNA, Moment.UPDATE)
    newer = standings(journal.read(incident))[-1].draft
    status_page.approve(incident, ANNA, newer.hash)
    with pytest.raises(NotApproved, match="put the page back"):
        status_page.approve(incident, ANNA, first.hash)


def test_a_draft_is_made_once_a_moment_however_often_a_run_begins_again(
    incident: str, directory: Path
) -> None:
    assert directory
    assert drafted(incident) == drafted(incident)
    assert len(standings(journal.read(incident))) == 1


def test_statuspage_shows_one_incident_that_goes_through_its_states(
    incident: str, page: Page
) -> None:
    status_page.approve(incident, ANNA, drafted(incident).hash)
    publish(incident)
    journal.append(incident, FactKind.CLOSED, {"outcome": "restored"}, key="closed")
    status_page.approve(incident, ANNA, drafted(incident, Moment.CLOSED).hash)
    publish(incident)
    (shown,) = page.incidents.values()
    assert shown["status"] == "resolved"
    assert [each["status"] for each in shown["incident_updates"]] == ["resolved", "investigating"]
    assert "jane" not in str(shown)


def test_what_a_killed_attempt_has_published_is_found_and_not_published_again(
    incident: str, page: Page
) -> None:
    status_page.approve(incident, ANNA, drafted(incident).hash)
    for _ in range(2):
        publish(incident)
        with responder.connection() as connection:  # killed before the fact was on disk
            connection.execute("DELETE FROM journal WHERE key LIKE 'told:status-page.%'")
    (shown,) = page.incidents.values()
    assert len(shown["incident_updates"]) == 1


def test_a_page_that_is_away_keeps_it_due_and_a_person_may_order_it_again(
    incident: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = drafted(incident)
    status_page.approve(incident, ANNA, made.hash)
    with monkeypatch.context() as away:
        setting(away, "STATUS_PAGE__URL", "http://127.0.0.1:1/v1")
        with pytest.raises(Transient):
            publish(incident, last_try=False)
        publish(incident)
    setting(monkeypatch, "STATUS_PAGE__PAGE_ID", page.name)
    assert page.incidents == {}
    status_page.approve(incident, ANNA, made.hash)
    with responder.connection() as connection:
        rows = connection.execute("SELECT count(*) FROM dispatches").fetchone()
    assert rows == (2,)
    publish(incident)
    assert len(page.incidents) == 1


def test_a_wrong_key_and_too_many_calls_are_told_apart_and_the_key_is_never_shown(
    incident: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = drafted(incident)
    status_page.approve(incident, ANNA, made.hash)
    page.per_minute = 0
    with pytest.raises(Throttled):
        publish(incident, last_try=False)
    setting(monkeypatch, "STATUS_PAGE__API_KEY", "not-the-key")
    publish(incident, last_try=False)
    (failed,) = [f for f in journal.read(incident).facts if f.kind is FactKind.NOTIFY_FAILED]
    assert "401" in failed.data["error"]
    assert "not-the-key" not in failed.data["error"]
    assert Denied


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"incidents": [{"name": 7}]}')
    words = Draft("p", Moment.OPENED, "Investigating: the API", "<b>We</b> look.\nAs of now.")
    with pytest.raises(BadInput, match="move it away"):
        status_files.publish(tmp_path, words, datetime.now(UTC))
    assert not (tmp_path / "index.html").exists()


def test_words_are_escaped_on_the_page_whatever_they_are(tmp_path: Path) -> None:
    words = Draft("p", Moment.OPENED, "<i>x</i>", "<script>alert(1)</script>")
    status_files.publish(tmp_path, words, datetime.now(UTC))
    html = (tmp_path / "index.html").read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
