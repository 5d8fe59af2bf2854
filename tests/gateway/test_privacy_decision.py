"""The risk of a breach is decided by the privacy officer alone: by the command, a form, or HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from deployments.cli import cli
from tasks.domain.breach_decision import decision_of
from tasks.domain.enisa import Category, Identifier
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Stage
from tasks.domain.privacy_scope import Part, Scope
from tasks.settings import settings
from tasks.work import incidents, journal, people, privacy_incidents, privacy_scope
from tests.gateway.browsers import Browser, Forms

pytestmark = pytest.mark.components

People = Callable[[str, str], httpx.Client]
LogIn = Callable[[str, str], Browser]

BODY: dict[str, Any] = {"risk": "likely", "reason": "ids were public for a day"}
_HOSTILE = '<script>alert(1)</script>\x1b[31m\u202e";--'


def scoped(table: str = "public.annotations") -> str:
    """An incident whose scope was measured: forty-one people's behavioural data."""
    incident = incidents.declare("Privacy: x", "privacy", "privacy_incident", by="runbook")
    part = Part(
        table, frozenset({Category.BEHAVIOURAL}), 1234, 41, named_by={Identifier.ALIAS: 1234}
    )
    scope = Scope(None, datetime.now(UTC), (part,), 41)
    assumed = settings().privacy_incident.circumstances()
    data = {"scope": scope.as_json(), "circumstances": assumed.as_json(), "summary": scope.words()}
    journal.append(incident, FactKind.PRIVACY_SCOPED, data)
    privacy_incidents.settle(incident)
    return incident


def facts(incident: str, kind: FactKind) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is kind]


def path(incident: str) -> str:
    return f"/incidents/{incident}/privacy/decide"


def test_only_the_privacy_officer_decides_and_nothing_else_is_recorded(person: People) -> None:
    incident = scoped()
    for name, role in (("rosa", "responder"), ("bea", "approver"), ("sam", "security")):
        assert person(name, role).post(path(incident), json=BODY).status_code == 403
    assert facts(incident, FactKind.PRIVACY_DECIDED) == []
    answer = person("dora", "privacy-officer").post(path(incident), json=BODY)
    assert (answer.status_code, answer.json()["by"]) == (200, "dora")
    (fact,) = facts(incident, FactKind.PRIVACY_DECIDED)
    assert (fact.actor, fact.data["role"]) == ("dora", "privacy-officer")
    assert (fact.data["risk"], fact.data["recommended"]) == ("likely", "unlikely")
    assert "the score suggests unlikely" in fact.data["summary"]


def test_the_same_words_are_one_decision_and_others_replace_it(person: People) -> None:
    incident, dora = scoped(), person("dora", "privacy-officer")
    first = dora.post(path(incident), json=BODY).json()
    assert dora.post(path(incident), json=BODY).json() == first
    dora.post(path(incident), json=BODY | {"risk": "high"})
    assert len(facts(incident, FactKind.PRIVACY_DECIDED)) == 2
    found = decision_of(journal.read(incident))
    assert found is not None
    assert found.risk == "high"


def test_a_decision_moves_the_laws_clock_drafts_anew_and_stops_nothing(person: People) -> None:
    incident, dora = scoped(), person("dora", "privacy-officer")
    assert {*journal.read(incident).clocks} == {"gdpr-33"}
    before = len(facts(incident, FactKind.NOTICE_DRAFTED))
    aware = datetime.now(UTC) - timedelta(hours=3)
    assert dora.post(path(incident), json=BODY | {"aware_at": aware.isoformat()}).is_success
    state = journal.read(incident)
    due = datetime.fromisoformat(state.clocks["gdpr-33"]["due"])
    assert due == aware + timedelta(hours=72)
    assert len(facts(incident, FactKind.NOTICE_DRAFTED)) > before
    assert (state.clocks_stopped, state.stage) == (set(), Stage.OPEN)
    privacy_incidents.settle(incident)  # a run that begins again adds nothing
    assert len(journal.read(incident).facts) == len(state.facts)


def test_a_correction_back_to_an_earlier_time_moves_the_clock_and_its_notice_back(
    person: People,
) -> None:
    incident, dora = scoped(), person("dora", "privacy-officer")
    first = datetime.now(UTC) - timedelta(hours=60)
    for aware in (first, first + timedelta(hours=30), first):
        assert dora.post(path(incident), json=BODY | {"aware_at": aware.isoformat()}).is_success
        due = (aware + timedelta(hours=72)).isoformat()
        drafted = [
            fact.data["due"]
            for fact in facts(incident, FactKind.NOTICE_DRAFTED)
            if fact.data["clock"] == "gdpr-33"
        ]
        assert (journal.read(incident).clocks["gdpr-33"]["due"], drafted[-1]) == (due, due)
    many = len(journal.read(incident).facts)
    assert due in [fact.data["due"] for fact in privacy_incidents.settle(incident)]
    assert len(journal.read(incident).facts) == many


@pytest.mark.usefixtures("database")
def test_a_scope_that_is_measured_as_it_was_before_stands_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    incident, at = incidents.declare("Privacy: x", "privacy", "privacy_incident", by="rosa"), []
    for rows in (7, 9, 9, 7):
        part = Part("public.t", frozenset({Category.SIMPLE}), rows, 1, named_by={})
        scope = Scope(None, datetime.now(UTC), (part,), 1)
        monkeypatch.setattr(privacy_scope, "measured", lambda *_, scope=scope: scope)
        privacy_incidents.measure(settings(), incident)
        at.append(facts(incident, FactKind.PRIVACY_SCOPED)[-1].data["scope"]["rows"])
    assert at == [7, 9, 9, 7]
    assert len(facts(incident, FactKind.PRIVACY_SCOPED)) == 3  # the same again is no fact


def test_a_low_score_and_an_unlikely_risk_close_nothing(person: People) -> None:
    incident, dora = scoped(), person("dora", "privacy-officer")
    dora.post(path(incident), json=BODY | {"risk": "unlikely"})
    closing = dora.post(f"/incidents/{incident}/close", json={"reason": "low"})
    assert closing.status_code == 409
    assert journal.read(incident).closed_at is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""},
        {"risk": "Low"},
        {"aware_at": "2999-01-01T00:00:00Z"},
        {"aware_at": "2026-01-01T00:00:00"},
        {"cases": ["x' OR 1=1"]},
        {"corrections": {"ease": {"e-mail": "limited"}}},
        {"corrections": {"severity": 0}},
        {"corrections": {"adjustment": 1}},
        {"by": "somebody else"},
    ],
)
def test_what_means_nothing_is_refused_with_what_was_expected(
    person: People, wrong: dict[str, Any]
) -> None:
    incident = scoped()
    answer = person("dora", "privacy-officer").post(path(incident), json=BODY | wrong)
    assert answer.status_code == 422
    assert facts(incident, FactKind.PRIVACY_DECIDED) == []


def test_the_page_shows_numbers_clocks_and_drafts_and_the_form_is_the_officers(
    log_in: LogIn,
) -> None:
    incident = scoped(table=f"public.{_HOSTILE}")
    page = f"/i/{incident}"
    bea = log_in("bea", "approver")
    shown = bea.get(page).text
    assert "<script>alert(1)" not in shown
    for words in ("1,234", "41", "gdpr-33", "% gone", "assumed", "nobody has decided yet"):
        assert words in shown, words
    assert "Notify the supervisory authority" in shown
    assert "UNKNOWN" in shown
    assert "privacy-decide" not in shown
    body = {"csrf": Forms.on(shown)["/logout"]["csrf"], "risk": "high", "reason": "r"}
    assert bea.client.post(f"{page}/privacy-decide", data=body).status_code == 403
    dora = log_in("dora", "privacy-officer")
    answer = dora.send(page, f"{page}/privacy-decide", reason=_HOSTILE, risk="high", aware="")
    assert answer.status_code == 303
    after = dora.get(f"{page}?said=judged").text
    assert "<script>alert(1)" not in after
    assert "Your decision on the risk is recorded" in after
    assert "confirmed" in after
    found = decision_of(journal.read(incident))
    assert found is not None
    assert (found.by, found.risk, found.reason.isprintable()) == ("dora", "high", True)


def test_an_incident_without_personal_data_has_no_such_section(log_in: LogIn) -> None:
    incident = incidents.declare("API: down", "api", "api_service", by="runbook")
    assert "Personal data" not in log_in("dora", "privacy-officer").get(f"/i/{incident}").text


def test_the_command_decides_and_says_that_no_clock_was_stopped(
    gateway: str, tmp_path: Path
) -> None:
    incident, token = scoped(), tmp_path / "token"
    token.write_text(people.add_person("dora", "privacy-officer", timedelta(hours=1)))
    where = ["--gateway", gateway, "--token-file", str(token)]
    said = ["privacy", "decide", incident, "--risk", "high", "--reason", "names were public"]
    more = ["--ease", "code or alias=maximum", "--malicious", "--case", "death"]
    result = CliRunner().invoke(cli, [*said, *more, *where])
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"{incident}: risk high decided by dora" in result.stdout
    assert "No clock was stopped" in result.stdout
    (fact,) = facts(incident, FactKind.PRIVACY_DECIDED)
    assert fact.data["severity"]["score"] == 2 * 1.0 + 1.0
    assert fact.data["cases"] == ["death"]
    wrong = CliRunner().invoke(cli, [*said, "--ease", "code or alias=some", *where])
    assert wrong.exit_code != 0
    assert len(facts(incident, FactKind.PRIVACY_DECIDED)) == 1
