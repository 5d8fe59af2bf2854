"""The status page over HTTP and by its verb: read by all, published by who answers for it."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from deployments import calling, publishing
from deployments.console import Gateway
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import incidents, journal, responder

pytestmark = pytest.mark.components

People = Callable[[str, str], httpx.Client]
HOSTILE = "<script>alert(1)</script> jane.doe@example.org"


@pytest.fixture
def incident(gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    assert gateway
    monkeypatch.setenv("RUNBOOK_STATUS_PAGE__DIRECTORY", str(tmp_path))
    settings.cache_clear()
    name = incidents.declare(HOSTILE, "database", "database", "anna", starts_run=False)
    journal.append(name, FactKind.SEVERITY_ASSIGNED, {"severity": "P0"})
    return name


def as_gateway(client: httpx.Client) -> Gateway:
    token = client.headers["authorization"].removeprefix("Bearer ")
    return Gateway(str(client.base_url).rstrip("/"), SecretStr(token))


def orders() -> list[str]:
    with responder.connection() as connection:
        return [key for (key,) in connection.execute("SELECT key FROM dispatches").fetchall()]


def test_a_draft_is_asked_for_read_and_approved_by_its_hash(
    incident: str, person: People, capsys: pytest.CaptureFixture[str]
) -> None:
    anna = as_gateway(person("anna", "approver"))
    assert publishing.show(anna, incident) == GOOD
    assert "Nothing is drafted" in capsys.readouterr().out
    assert publishing.ask(anna, incident, "opened") == GOOD
    shown = capsys.readouterr().out
    assert "Investigating: the database" in shown
    assert "waits for approval" in shown
    assert publishing.publish(anna, incident, shown.split()[0]) == GOOD
    assert any(key.startswith(f"escalate:{incident}:status-page.") for key in orders())
    capsys.readouterr()
    publishing.show(anna, incident)
    assert "approved by anna, not public yet" in capsys.readouterr().out


def test_who_may_not_publish_is_told_who_may_and_nothing_is_ordered(
    incident: str, person: People, capsys: pytest.CaptureFixture[str]
) -> None:
    publishing.ask(as_gateway(person("anna", "approver")), incident, "opened")
    prefix = capsys.readouterr().out.split()[0]
    rico = as_gateway(person("rico", "responder"))
    assert publishing.publish(rico, incident, prefix) == COULD_NOT_TELL
    assert orders() == []


@pytest.mark.parametrize("prefix", ["", "abc", "00000000"])
def test_a_hash_that_names_no_draft_is_refused(prefix: str, incident: str, person: People) -> None:
    anna = as_gateway(person("anna", "approver"))
    publishing.ask(anna, incident, "opened")
    with pytest.raises(BadInput, match="hash"):
        publishing.publish(anna, incident, prefix)


@pytest.mark.parametrize("moment", ["", "denied", "Opened", None, 7])
def test_a_moment_that_is_none_drafts_nothing(
    moment: object, incident: str, person: People
) -> None:
    answer = person("anna", "approver").post(
        f"/incidents/{incident}/status-page", json={"moment": moment}
    )
    assert answer.status_code == 422
    assert FactKind.STATUS_DRAFTED not in {fact.kind for fact in journal.read(incident).facts}


def test_an_incident_that_nobody_knows_has_no_drafts(person: People, incident: str) -> None:
    assert incident
    anna = person("anna", "approver")
    assert anna.get("/incidents/INC-0/status-page").status_code == 404
    asked = anna.post("/incidents/INC-0/status-page", json={"moment": "opened"})
    assert asked.status_code == 404


def test_the_verb_says_who_would_be_called_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNBOOK_CONTACTS__ON_CALL", "U000000CALL")
    monkeypatch.setenv(
        "RUNBOOK_REACH__URLS", '{"dpo": ["mailtos://user:secret-of-mail@example.org"]}'
    )
    settings.cache_clear()
    assert calling.show("2026-03-14T03:00:00+00:00") == GOOD
    said = capsys.readouterr().out
    assert "U000000CALL" in said
    assert "mailtos" in said
    assert "secret-of-mail" not in said
    with pytest.raises(BadInput, match="expected a time"):
        calling.show("soon")
